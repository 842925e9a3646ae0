// What is concluded from the page's figures under a setting: `reports.decision.results.Results.under`, once more, tested against
// it. An interval is [value, low, high] with null for an end that has no bound. Nothing here touches the page.

const low = (one) => (one[1] === null ? -Infinity : one[1]);
const high = (one) => (one[2] === null ? Infinity : one[2]);
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** reports.decision.wording: a sentence of its table, filled in, and numbers as it writes them. */
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
const say = (sentence, values = {}) => fill(data.words[sentence], values);
const infinite = (value) => (Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf");
const fixed = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : infinite(value));
const significant = (value) => (Number.isFinite(value) ? String(+value.toPrecision(3)) : infinite(value));
const percentText = (share) => fixed(100 * share, 100 * share < 10 ? 1 : 0);

const BARRED = ["fails", "untrusted"], GOOD = ["meets", "baseline"];
const joined = (checks) => checks.map((check) => check[1]).join("; ");

/** reports.decision.verdicts.judge: [verdict, why]. */
function judge(cell, setting) {
  if (cell.doubts) return ["untrusted", cell.doubts];
  const memory = setting.memory === null ? null : cell.memory
    ? check("memory", cell.memory, setting.memory, "at_most") : ["inconclusive", say("memory_unseen")];
  const engine = cell.engineLoss && engineCheck(cell.engineLoss, setting);
  const judged = cell.baseline ? [engine]
    : cell.direct ? [...againstReference(cell.direct, engine, setting), check("kl", cell.kl, setting.kl, "at_most")]
    : [engine, ...againstBaseline(cell, setting)];
  const checks = [...judged, memory].filter((one) => one);
  for (const verdict of ["fails", "inconclusive"]) {
    const reasons = checks.filter((one) => one[0] === verdict);
    if (reasons.length) return [verdict, joined(reasons)];
  }
  return cell.baseline ? ["baseline", say("baseline")] : ["meets", joined(checks)];
}

/** What users get: the cell against the model's reference, with what its engine loses where that is no good. */
function againstReference(direct, engine, setting) {
  const recovered = direct.nothingRecovered ? [["inconclusive", say("nothing_recovered")]] : [];
  const checks = [...recovered, ...quality(direct.recovery, direct.perplexity, setting, direct.reference)].filter((one) => one);
  const worst = ["fails", "inconclusive"].find((verdict) => checks.some((one) => one[0] === verdict));
  return engine && worst ? [...checks, [worst, engine[1]]] : checks;
}

/** What quantization did. */
function againstBaseline(cell, setting) {
  if (!cell.accuracy && !cell.perplexity) return [["inconclusive", say("not_scored")]];
  const recovered = cell.nothingRecovered ? [["inconclusive", say("nothing_recovered")]] : [];
  const checks = [...recovered, ...quality(cell.recovery, cell.perplexity, setting), check("kl", cell.kl, setting.kl, "at_most")].filter((one) => one);
  return checks.length ? checks : [["inconclusive", say("no_baseline")]];
}

const quality = (recovery, perplexity, setting, reference = "") =>
  [check("recovery", recovery, setting.recovery, "at_least", reference), check("perplexity", perplexity, setting.perplexity, "at_most", reference)];

/** reports.decision.verdicts.engine_check */
function engineCheck(loss, setting) {
  const { engine, reference } = loss;
  if (!loss.same && !loss.recovery && !loss.perplexity) return ["inconclusive", say("engine_unknown", { engine, reference })];
  const checks = quality(loss.same ? null : loss.recovery, loss.sameTokens ? null : loss.perplexity, setting).filter((one) => one);
  for (const [verdict, sentence] of [["fails", "engine_fails"], ["inconclusive", "engine_undecided"]]) {
    const reasons = checks.filter((one) => one[0] === verdict);
    if (reasons.length) return [verdict, say(sentence, { why: joined(reasons), engine, reference })];
  }
  return null;
}

function check(name, one, limit, side, reference = "") {
  if (!one) return null;
  const title = reference ? say("against", { name: say(name), reference }) : say(name);
  const atLeast = side === "at_least";
  const good = atLeast ? low(one) >= limit : high(one) <= limit;
  const bad = atLeast ? high(one) < limit : low(one) > limit;
  const [value, least] = [one[0], low(one)].map((end) => fixed(end, 3));
  const most = one[2] === null || one[2] >= 1e9 ? say("no_upper_bound") : fixed(one[2], 3);
  const text = say(side, { name: title, value, low: least, high: most, limit: +limit.toPrecision(6) });
  return [good ? "meets" : bad ? "fails" : "inconclusive", text];
}

/** reports.decision.verdicts.point_to_scored */
function pointToScored(cells, judged) {
  const scored = Object.fromEntries(
    cells.filter((cell, i) => judged[i] && (cell.accuracy || cell.perplexity)).map((cell) => [cell.checkpoint, cell.name]));
  return judged.map((one, i) => {
    const name = one && cells[i].silent ? scored[cells[i].checkpoint] : undefined;
    return name === undefined ? one : [one[0], say("scored_elsewhere", { why: one[1], name })];
  });
}

/** evals.metrics.slo.slo_verdict, of a load's percentiles at `place`. */
function sloVerdict(load, setting, place) {
  const sides = [[load.ttft, setting.ttft], [load.tpot, setting.tpot]].map(([waits, most]) => {
    if (most === null) return "met";
    if (waits === null) return "inconclusive";
    return high(waits[place]) <= most ? "met" : low(waits[place]) > most ? "violated" : "inconclusive";
  });
  if (sides.includes("violated") || !load.keepsUp) return "violated";
  return sides.includes("inconclusive") ? "inconclusive" : "met";
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

/** reports.metrics.cost.affordable */
function affordable(rate, cell, setting) {
  if (!isBounded(setting)) return "met";
  if (!cell.devices) return "inconclusive";
  const [, least, most] = perMillion(rate, cell.devices, setting.price);
  return most <= setting.cost ? "met" : least > setting.cost ? "violated" : "inconclusive";
}

/** reports.metrics.slo_capacity.capacity_within */
const capacityWithin = ({ capacity }, setting) =>
  (capacity && ["ttft", "tpot", "percentile"].every((name) => capacity[name] === setting[name]) ? capacity : null);

/** A load of a search is none of the page's numbered ones. */
const labelOf = (load) => load.label ?? data.loads[load.load].label;

/** The cell's loads by which it is ranked, its rate there, and whether it meets what is asked for; null where a load of
 * the mix was not measured. */
function ranking(cell, setting, place) {
  const worst = (sides) => ["violated", "inconclusive", "met"].find((one) => sides.includes(one));
  if (setting.objective === "capacity") {
    const capacity = capacityWithin(cell, setting), rate = capacity?.load.rate, state = capacity?.met ? "met" : "inconclusive";
    return capacity && { loads: [capacity.load], rate, serves: worst([state, affordable(rate, cell, setting)]) };
  }
  const mix = mixOf(setting), sloState = (load) => (hasSlo(setting) ? sloVerdict(load, setting, place) : "met");
  const best = (sides) => ["met", "inconclusive", "violated"].find((one) => sides.includes(one));
  if (mix.length || !asks(setting)) {
    const found = rateUnder(cell, mix);
    return found && { ...found, serves: worst([...found.loads.map(sloState), affordable(found.rate, cell, setting)]) };
  }
  const sides = cell.loads.map((load) => worst([sloState(load), affordable(load.rate, cell, setting)])), serves = best(sides);
  const most = cell.loads.filter((_, i) => sides[i] === serves).reduce((a, b) => (b.rate[0] > a.rate[0] ? b : a));
  return { loads: [most], rate: most.rate, serves };
}

/** reports.decision.ranking.OBJECTIVES: the figure that is to be best. */
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

/** reports.decision.pareto: which cells are on the frontier by values. Dominated are those off it whose printed probability
 * of being on it is small; that was drawn among the plan's cells, and can only be smaller among more of them. */
function frontier(data, plot, allowed, setting) {
  const turn = (one, less) => (less ? [-one[0]] : [one[0]]);
  const points = allowed.filter((cell) => !plot.model || data.cells[cell].model === plot.model).flatMap((cell) => {
    const x = onAxis(data.cells[cell], plot.x.name, setting), y = onAxis(data.cells[cell], plot.y.name, setting);
    return x && y ? [{ cell, x: turn(x, plot.x.less), y: turn(y, plot.y.less) }] : [];
  });
  const dominates = (a, b) => a.x[0] >= b.x[0] && a.y[0] >= b.y[0] && (a.x[0] > b.x[0] || a.y[0] > b.y[0]);
  const finite = points.filter((one) => Number.isFinite(one.x[0]) && Number.isFinite(one.y[0]));
  const on = finite.filter((one) => !finite.some((other) => dominates(other, one))).map((one) => one.cell);
  const shown = new Set(points.map((one) => one.cell)), best = new Set(on);
  const holds = plot.drawn.every((cell) => shown.has(cell)) && !mixOf(setting).length && setting.price !== 0;
  return { points: [...shown], on, dominated: holds ? plot.dominated.filter((cell) => shown.has(cell) && !best.has(cell)) : [] };
}

/** Judge, rank and draw frontiers again, with an answer for each model. `judged` has null for cells that are filtered
 * out; cells are numbers. */
function conclude(data, setting) {
  const hidden = (cell) => Object.entries(setting.without).some(([group, names]) => names.includes(cell[group]));
  const judged = pointToScored(data.cells, data.cells.map((cell) => (hidden(cell) ? null : judge(cell, setting))));
  const numbers = data.cells.map((_, i) => i).filter((i) => judged[i]);
  const allowed = numbers.filter((i) => !BARRED.includes(judged[i][0]));
  const answers = data.models.map((model) => answerOf(data, setting, model, judged, allowed));
  return {
    judged, allowed, answers,
    frontiers: Object.fromEntries(data.plots.map((plot) => [plot.name, frontier(data, plot, allowed, setting)])),
  };
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
    return figure ? [{ number, figure, good: GOOD.includes(judged[number][0]), ...one }] : [];
  });
  const sign = objective.less ? 1 : -1;
  const serving = shortlist.filter((one) => one.serves !== "violated");
  const isRaced = (one, cell) => setting.objective === "latency" || (one.loads.length === 1 && one.loads[0] === cell.loads[cell.busiest]);
  const tiedBy = setting.objective === data.planned.objective;  // a race showed that they are equal in speed
  const tied = (one) => (tiedBy && isRaced(one, data.cells[one.number]) ? data.cells[one.number].tied : undefined);
  const lead = Math.min(...serving.filter((one) => tied(one) !== undefined).map((one) => sign * one.figure[0]));
  const rank = (one) => [one.good ? 0 : 1, one.serves === "met" ? 0 : 1, tied(one) === undefined ? sign * one.figure[0] : lead, tied(one) ?? 0];
  const ranked = serving.sort((a, b) => { const [x, y] = [rank(a), rank(b)]; return x[0] - y[0] || x[1] - y[1] || x[2] - y[2] || x[3] - y[3]; });
  const violated = shortlist.filter((one) => one.serves === "violated").map((one) => one.number);
  const answer = { model, ranked, violated };
  if (!ranked.length) {
    const unknown = recommendable.length ? say("none_known", { title: objective.title }) : say("none_allowed");
    const why = violated.length ? say("none_serves", { asks: asks(setting) }) : unknown;
    return { ...answer, caveats: [why], alternative: "" };
  }
  return { ...answer, caveats: caveats(data, setting, ranked, judged), alternative: alternative(data, setting, ranked) };
}

/** reports.decision.recommend.refusal */
const refusal = (data, model, why) => (data.models.length > 1 ? say("no_answer_of", { model, why }) : say("no_answer", { why }));

/** reports.decision.recommend.figure_text */
const shownFigure = (value, objective) => (objective.less ? significant(value) : fixed(value, 1));

/** reports.decision.recommend: the best figure among those that are behind for their quality's sake alone. */
function alternative(data, setting, ranked) {
  const [best, ...rest] = ranked, objective = data.objectives[setting.objective], sign = objective.less ? 1 : -1;
  const behind = rest.filter((one) => best.good && !one.good && (one.serves === "met" || best.serves !== "met")
    && sign * one.figure[0] < sign * best.figure[0]);
  if (!behind.length || best.figure[0] <= 0) return "";
  const other = behind.reduce((a, b) => (sign * b.figure[0] < sign * a.figure[0] ? b : a));
  const percent = percentText(Math.abs(other.figure[0] / best.figure[0] - 1));
  return say("alternative", { name: data.cells[other.number].name, gain: fill(objective.gain, { percent }) });
}

/** reports.decision.recommend: what speaks against the first of the list. */
function caveats(data, setting, ranked, judged) {
  const best = ranked[0], { name, slow, devices } = data.cells[best.number], [verdict, why] = judged[best.number];
  const missing = say(isBounded(setting) && !devices ? "devices_unknown" : "more_requests");
  return [
    ...(verdict === "inconclusive" ? [say("limits_inconclusive", { name, why })] : []),
    ...(best.serves === "inconclusive" ? [say("slo_inconclusive", { name, asks: asks(setting), missing })] : []),
    ...best.loads.flatMap((load) => load.warnings.map((warning) => say("of_load", { name, load: labelOf(load), warning }))),
    ...slow.map((warning) => say("slow_path", { name, warning })),
    ...(setting.objective === "throughput" ? onMoreDevices(data, ranked) : []),
    ...nearBest(data, setting, ranked),
  ];
}

function onMoreDevices(data, ranked) {
  const perDevice = (one) => (data.cells[one.number].devices ? one.rate[0] / data.cells[one.number].devices : 0);
  const best = ranked[0], most = ranked.reduce((a, b) => (perDevice(b) > perDevice(a) ? b : a));
  const [ours, theirs] = [best, most].map((one) => data.cells[one.number]);
  if (!ours.devices || theirs.devices === ours.devices) return [];
  return [say("devices", {
    count: ours.devices, rate: fixed(perDevice(best), 1), other: theirs.name, others: theirs.devices, most: fixed(perDevice(most), 1),
  })];
}

// whether the 95 % interval of more ÷ less holds 1: MOVER on the logarithms
function mayBeEqual(less, more) {
  const [value, , top] = less, [other, bottom] = more;
  if (!(value > 0 && value <= high(less) && high(less) < Infinity && low(more) > 0 && low(more) <= other)) return high(less) >= low(more);
  return Math.log(other / value) <= Math.hypot(Math.log(top / value), Math.log(other / bottom));
}

const MOST_NAMES_SAID = 12;

function nearBest(data, setting, ranked) {
  const best = ranked[0], objective = data.objectives[setting.objective], { less, unit } = objective;
  const near = ranked.slice(1).filter((one) => one.good === best.good
    && (less ? mayBeEqual(best.figure, one.figure) : mayBeEqual(one.figure, best.figure)));
  if (!near.length) return [];
  const shown = near.slice(0, MOST_NAMES_SAID)
    .map((one) => say("close_name", { name: data.cells[one.number].name, figure: shownFigure(one.figure[0], objective) })).join(", ");
  const names = near.length > MOST_NAMES_SAID ? say("more_names", { names: shown, count: near.length - MOST_NAMES_SAID }) : shown;
  return [say("close", { figure: shownFigure(best.figure[0], objective), unit, names })];
}
