// What is concluded from the page's figures under a setting: `reports.decision.results.Results.under`, once more, tested against
// it, from the verdicts of `judge.js`, by the table of rules. Nothing here touches the page.

/** reports.decision.limit_probability.LimitCheck: [state, probability]. */
const MET = ["met", 1], VIOLATED = ["violated", 0], UNKNOWN = ["inconclusive", 0];
const allOf = (sides) => [
  ["violated", "inconclusive"].find((state) => sides.some((side) => side[0] === state)) ?? "met", allKept(sides.map((side) => side[1]))];

/** reports.decision.limit_probability.check_limit */
function checkLimit({ direction }, one, limit) {
  const verdict = verdictOf(direction, one, limit);
  return verdict === "meets" ? MET : verdict === "fails" ? VIOLATED : [verdict, keeps(one, limit, direction === "at_least")];
}

/** reports.decision.limit_probability.slo_kept, of a load's percentiles at `place`. */
function sloKept(load, setting, place) {
  if (!hasSlo(setting)) return MET;
  const limits = limitsOf("load").filter(({ key }) => setting[key] !== null);
  const side = allOf(limits.map((rule) => (load[rule.key] === null ? UNKNOWN : checkLimit(rule, load[rule.key][place], setting[rule.key]))));
  return load.keepsUp && side[0] !== "violated" ? side : VIOLATED;
}

/** The shares of the mix by load, without those of none. */
const mixOf = (setting) => Object.entries(setting.mix).filter(([, share]) => share > 0).map(([load, share]) => [+load, share]);

/** reports.metrics.figures_of_merit.mixed_rate. */
function mixedRate(rates, shares) {
  const harmonic = (values) => {
    if (values.some((rate) => rate === 0)) return 0;
    const seconds = sum(values.map((rate, i) => shares[i] / rate));
    return seconds ? sum(shares) / seconds : Infinity;
  };
  const values = rates.map((one) => one[0]), middle = harmonic(values);
  if (!(middle > 0 && middle < Infinity)) return [middle, 0, Infinity];
  const reach = (ends) => Math.sqrt(sum(ends.map((end, i) => Math.log(harmonic(values.with(i, Math.max(end, 0))) / middle) ** 2)));
  return [middle, middle * Math.exp(-reach(rates.map(low))), middle * Math.exp(reach(rates.map(high)))];
}

/** reports.metrics.figures_of_merit.throughput, and the loads that it is of; null where one of the mix was not measured. */
function rateUnder(cell, mix) {
  if (!mix.length) return { loads: [cell.loads[cell.busiest]], rate: cell.loads[cell.busiest].rate };
  const loads = mix.map(([load]) => cell.loads.find((one) => one.load === load));
  if (loads.some((one) => !one)) return null;
  return { loads, rate: mixedRate(loads.map((one) => one.rate), mix.map(([, share]) => share)) };
}

const hasSlo = (setting) => setting.ttft !== null || setting.tpot !== null;
const isBounded = (setting) => setting.price !== null && setting.cost !== null;

/** reports.decision.ranking.Aim.asks: what a load must meet. */
const asks = (setting) => {
  const parts = [...(hasSlo(setting) ? [say("slo")] : []), ...(isBounded(setting) ? [say("cost")] : [])];
  return parts.length > 1 ? say("and", { first: parts[0], second: parts[1] }) : parts.join("");
};

/** reports.decision.limit_probability.cost_kept */
function costKept(rate, cell, setting) {
  if (!isBounded(setting)) return MET;
  if (!cell.devices) return UNKNOWN;
  const figures = { cost: perMillion(rate, cell.devices, setting.price) };
  return allOf(limitsOf("rate").map((rule) => checkLimit(rule, figures[rule.key], setting[rule.key])));
}

/** reports.metrics.slo_capacity.capacity_within */
const capacityWithin = ({ capacity }, setting) =>
  (capacity && ["ttft", "tpot", "percentile"].every((name) => capacity[name] === setting[name]) ? capacity : null);

/** A load of a search is none of the page's numbered ones. */
const labelOf = (load) => load.label ?? data.loads[load.load].label;

/** The cell's loads by which it is ranked, its rate there, and whether it meets what is asked for; null where a load of
 * the mix was not measured. */
function ranking(cell, setting, place) {
  if (setting.objective === "capacity") {
    const capacity = capacityWithin(cell, setting), rate = capacity?.load.rate;
    return capacity && { loads: [capacity.load], rate, asked: allOf([capacity.met ? MET : UNKNOWN, costKept(rate, cell, setting)]) };
  }
  const mix = mixOf(setting);
  if (mix.length || !asks(setting)) {
    const found = rateUnder(cell, mix);
    const sides = found && [...found.loads.map((load) => sloKept(load, setting, place)), costKept(found.rate, cell, setting)];
    return found && { ...found, asked: allOf(sides) };
  }
  const pairs = cell.loads.map((load) => ({ load, asked: allOf([sloKept(load, setting, place), costKept(load.rate, cell, setting)]) }));
  const rank = ({ load, asked: [state, kept] }) =>
    standing("loads", { possible: state !== "violated", likely: likely(kept), met: state === "met", rate: load.rate[0] });
  const most = pairs.reduce((a, b) => (compared(rank(b), rank(a)) < 0 ? b : a));
  return { loads: [most.load], rate: most.load.rate, asked: most.asked };
}

/** reports.decision.ranking.FIGURES: the figure that is to be best. */
const FIGURES = {
  throughput: (cell, rate) => rate,
  "per-device": (cell, rate) => cell.devices && rate.map((end) => end === null ? null : end / cell.devices),
  latency: (cell) => cell.latency,
  capacity: (cell, _, setting) => capacityWithin(cell, setting).figure,
  memory: (cell) => cell.memory,
  fidelity: (cell) => (cell.unquantized ? null : cell.perplexity),
};

/** What a million output tokens cost at that rate on so many devices: reports.metrics.cost.per_million. */
function perMillion(rate, devices, price) {
  const cost = (end) => (end > 0 ? (1e6 * price * devices) / 3600 / end : Infinity);
  return [cost(rate[0]), cost(high(rate)), cost(low(rate))];
}

/** The figure of a cell on an axis of a frontier, or null. */
function onAxis(cell, name, setting) {
  if (name !== "throughput" && name !== "cost") return cell[name];
  const found = cell.loads.length ? rateUnder(cell, mixOf(setting)) : null;
  if (name === "throughput" || !found) return found && found.rate;
  return setting.price === null || !cell.devices ? null : perMillion(found.rate, cell.devices, setting.price);
}

/** reports.decision.frontier.pareto.frontier: the numbers of the cells that no other dominates on both axes, by values. */
function frontier(data, { model, x, y }, allowed, setting) {
  const turned = (one, axis) => one && (axis.less ? -one[0] : one[0]);
  const points = allowed.filter((i) => !model || data.cells[i].model === model)
    .map((i) => ({ i, x: turned(onAxis(data.cells[i], x.name, setting), x), y: turned(onAxis(data.cells[i], y.name, setting), y) }))
    .filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y)).sort((a, b) => b.x - a.x || b.y - a.y);
  let last = { x: Infinity, y: -Infinity }; // from right to left whatever is higher than all before is on it, and what is equal
  return points.filter((point) => (point.y > last.y || (point.y === last.y && point.x === last.x)) && (last = point)).map(({ i }) => i);
}

/** Judge and rank again, with an answer for each model. `judged` has null for cells that are filtered out; cells are numbers. */
function conclude(data, setting) {
  const hidden = (cell) => Object.entries(setting.without).some(([group, names]) => names.includes(cell[group]));
  const judged = pointToScored(data.cells, data.cells.map((cell) => (hidden(cell) ? null : judge(cell, setting))));
  const numbers = data.cells.map((_, i) => i).filter((i) => judged[i]);
  const allowed = numbers.filter((i) => !isBarred(judged[i][0]));
  return { judged, allowed, answers: data.models.map((model) => answerOf(data, setting, model, judged, allowed)) };
}

/** reports.decision.recommend.decide: one model's cells, the best first. */
function answerOf(data, setting, model, judged, allowed) {
  const place = data.percentiles.indexOf(setting.percentile), objective = data.objectives[setting.objective];
  const recommendable = allowed.filter((number) => {
    const cell = data.cells[number];
    return cell.model === model && cell.loads.length && (cell.baseline || cell.accuracy || cell.perplexity);
  });
  const shortlist = recommendable.flatMap((number) => {
    const cell = data.cells[number], one = ranking(cell, setting, place);
    const figure = one && FIGURES[setting.objective](cell, one.rate, setting);
    if (!figure) return [];
    const kept = judged[number][2], keptWith = allKept([kept, one.asked[1]]), serves = one.asked[0];
    return [{ number, figure, good: likely(kept), sure: likely(keptWith), keptWith, serves, ...one }];
  });
  const gain = (one) => gained(objective, one.figure[0]);
  const serving = shortlist.filter((one) => one.serves !== "violated");
  const isRaced = (one, cell) => setting.objective === "latency" || (one.loads.length === 1 && one.loads[0] === cell.loads[cell.busiest]);
  const tiedBy = setting.objective === data.planned.objective;  // a race showed that they are equal in speed
  const tied = (one) => (tiedBy && isRaced(one, data.cells[one.number]) ? data.cells[one.number].tied : undefined);
  const lead = Math.max(...serving.filter((one) => tied(one) !== undefined).map(gain));
  const rank = ({ good, sure, ...one }) => standing("cells", { good, sure, gain: tied(one) === undefined ? gain(one) : lead, place: tied(one) ?? 0 });
  const stands = new Map(serving.map((one) => [one, rank(one)]));
  const ranked = unlessShown(data, setting, serving.sort((a, b) => compared(stands.get(a), stands.get(b))));
  const violated = shortlist.filter((one) => one.serves === "violated").map((one) => one.number);
  const answer = { model, ranked, violated };
  if (!ranked.length) {
    const unknown = recommendable.length ? say("none_known", { title: objective.title }) : say("none_allowed");
    const why = violated.length ? say("none_serves", { asks: asks(setting) }) : unknown;
    return { ...answer, chosen: null, caveats: [why], alternative: "" };
  }
  if (!ranked[0].sure) return { ...answer, chosen: null, caveats: [notYet(data, setting, ranked[0], judged)], alternative: "" };
  return { ...answer, chosen: ranked[0], caveats: caveats(data, setting, ranked, judged), alternative: alternative(data, setting, ranked, tied) };
}

/** reports.decision.recommend: the best unquantized cell first, where its figure may be equal to the first one's. */
function unlessShown(data, setting, ranked) {
  const plain = ranked.find((one) => data.cells[one.number].unquantized), [first] = ranked;
  if (!plain || plain === first || compared(doubts(plain), doubts(first)) > 0) return ranked;
  if (!mayBeEqual(plain.figure, first.figure, data.widening[Math.max(quantizedRivals(data, ranked).length, 1) - 1])) return ranked;
  return [plain, ...ranked.filter((one) => one !== plain)];
}

/** reports.decision.caveats.quantized_rivals */
const doubts = (one) => [!one.good, !one.sure];
const quantizedRivals = (data, ranked) =>
  ranked.filter((one) => !data.cells[one.number].unquantized && compared(doubts(one), doubts(ranked[0])) === 0);

const missing = (data, setting, one) => say(isBounded(setting) && !data.cells[one.number].devices ? "devices_unknown" : "more_requests");

/** reports.decision.caveats.not_yet */
function notYet(data, setting, first, judged) {
  const why = first.good ? [] : [judged[first.number][1]];
  if (first.serves === "inconclusive") why.push(say("asked_inconclusive", { asks: asks(setting), missing: missing(data, setting, first) }));
  return say("not_yet", { name: data.cells[first.number].name, probability: fixed(first.keptWith, "probability"), least: data.rules.thresholds.least_kept, why: why.join("; ") });
}

/** reports.decision.recommend.refusal */
const refusal = (data, { model, ranked, caveats: [why] }) =>
  say(`no_answer${ranked.length ? "_yet" : ""}${data.models.length > 1 ? "_of" : ""}`, { model, why });

/** reports.decision.caveats.figure_text */
const shownFigure = (value, objective) => (objective.digits === "significant" ? significant(value) : fixed(value, objective.digits));

/** reports.decision.ranking.Objective.gained: the value, turned so that more is better. */
const gained = (objective, value) => (objective.less ? -value : value);

/** reports.decision.recommend: the best figure of those that are ahead, cells without doubts first; equals of a race are not. */
function alternative(data, setting, ranked, tied) {
  const [best, ...rest] = ranked, objective = data.objectives[setting.objective], gain = (one) => gained(objective, one.figure[0]);
  const isEqual = (one) => tied(one) !== undefined && tied(best) !== undefined, isSure = (one) => one.good && one.sure;
  const ahead = rest.filter((one) => !isEqual(one) && gain(one) > gain(best));
  if (!ahead.length || best.figure[0] <= 0) return "";
  const sure = ahead.filter(isSure), other = (sure.length ? sure : ahead).reduce((a, b) => (gain(b) > gain(a) ? b : a)), { name } = data.cells[other.number];
  const words = !isSure(other) && !mayBeEqual(other.figure, best.figure) ? objective.gain : objective.maybe;
  const better = fill(words, { percent: percentText(Math.abs(other.figure[0] / best.figure[0] - 1)) });
  if (isSure(other)) return say("alternative_unshown", { name, gain: better });
  if (!other.good) return say("alternative", { name, gain: better });
  return say("alternative_asked", { name, gain: better, probability: fixed(other.keptWith, "probability") });
}

/** reports.decision.caveats.caveats_of: against the first of the list, in the table's order. */
function caveats(data, setting, ranked, judged) {
  const figures = caveatFigures(data, setting, ranked, judged), [best] = ranked;
  const entries = {
    "": [{}],
    load_warnings: best.loads.flatMap((load) => load.warnings.map((warning) => ({ load: labelOf(load), warning }))),
    slow_paths: data.cells[best.number].slow.map((warning) => ({ warning })),
  };
  return data.rules.caveats.filter(({ when = [] }) => holds(when, figures))
    .flatMap(({ words, each = "" }) => entries[each].map((entry) => fill(words, { ...figures, ...entry })));
}

/** reports.decision.caveats: all that the table's conditions and words read, numbers and texts as they are shown. */
function caveatFigures(data, setting, ranked, judged) {
  const [best] = ranked, cell = data.cells[best.number], [verdict, why, kept] = judged[best.number], objective = data.objectives[setting.objective];
  const ahead = quantizedRivals(data, ranked).filter((one) => gained(objective, one.figure[0]) > gained(objective, best.figure[0]));
  const near = ranked.slice(1).filter((one) => one.good && one.sure && mayBeEqual(one.figure, best.figure));
  return {
    name: cell.name, unquantized: cell.unquantized,
    rivals_ahead: ahead.length, rival: ahead.length ? data.cells[ahead[0].number].name : "",
    quality_inconclusive: verdict === "inconclusive", quality_probability: fixed(kept, "probability"), why,
    asked_inconclusive: best.serves === "inconclusive", asked_probability: fixed(best.asked[1], "probability"),
    asks: asks(setting), missing: missing(data, setting, best),
    by_throughput: setting.objective === "throughput", ...onDevices(data, ranked),
    close_rivals: near.length, names: namesOf(data, near, objective), figure: shownFigure(best.figure[0], objective), unit: objective.unit,
  };
}

/** reports.decision.caveats: with their figures, of no more than the table has room for. */
function namesOf(data, near, objective) {
  const most = data.rules.thresholds.most_names;
  const names = near.slice(0, most).map((one) => say("close_name", { name: data.cells[one.number].name, figure: shownFigure(one.figure[0], objective) })).join(", ");
  return near.length > most ? say("more_names", { names, count: near.length - most }) : names;
}

/** reports.decision.caveats: the devices of the first cell, and of the one that makes the most of its own. */
function onDevices(data, ranked) {
  const perDevice = (one) => (data.cells[one.number].devices ? one.rate[0] / data.cells[one.number].devices : 0);
  const [best] = ranked, most = ranked.reduce((a, b) => (perDevice(b) > perDevice(a) ? b : a)), theirs = data.cells[most.number];
  return {
    devices: data.cells[best.number].devices ?? 0, device_rate: fixed(perDevice(best), "rate"),
    other: theirs.name, most_devices: theirs.devices ?? 0, most_rate: fixed(perDevice(most), "rate"),
  };
}

// reports.decision.caveats.may_be_equal: whether the 95 % interval of their ratio holds 1
function mayBeEqual(first, second, widened = 1) {
  const [less, more] = first[0] <= second[0] ? [first, second] : [second, first];
  const [value, , top] = less, [other, bottom] = more;
  if (!(value > 0 && value <= high(less) && high(less) < Infinity && low(more) > 0 && low(more) <= other)) return high(less) >= low(more);
  return other <= value || Math.log(other / value) < widened * Math.hypot(Math.log(top / value), Math.log(other / bottom));
}
