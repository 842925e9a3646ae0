// What is concluded from the page's figures under a setting: `reports.decision.results.Results.under`, once more, tested against
// it. An interval is [value, low, high] with null for an end that has no bound. Nothing here touches the page.

const low = (one) => (one[1] === null ? -Infinity : one[1]);
const high = (one) => (one[2] === null ? Infinity : one[2]);
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** reports.decision.verdicts.judge: [verdict, why]. */
function judge(cell, setting) {
  if (cell.doubts) return ["untrusted", cell.doubts];
  const memory = setting.memory === null ? null : cell.memory
    ? check("peak memory in GiB", cell.memory, setting.memory, false) : ["undecided", "its memory was not seen"];
  if (cell.baseline) return memory && memory[0] !== "meets" ? memory : ["baseline", "the unquantized baseline"];
  const against = [
    cell.notComparable ? ["undecided", cell.notComparable] : check("accuracy recovered", cell.recovery, setting.recovery, true),
    check("perplexity ratio", cell.perplexity, setting.perplexity, false),
    check("KL divergence", cell.kl, setting.kl, false),
  ].filter((one) => one);
  if (!cell.accuracy && !cell.perplexity) return ["undecided", "its accuracy was not measured"];
  if (!against.length) return ["undecided", "no baseline was measured in this engine to compare with"];
  const known = memory ? [memory, ...against] : against;
  for (const verdict of ["fails", "undecided"]) {
    const reasons = known.filter((one) => one[0] === verdict);
    if (reasons.length) return [verdict, reasons.map((one) => one[1]).join("; ")];
  }
  return ["meets", known.map((one) => one[1]).join("; ")];
}

function check(name, one, limit, atLeast) {
  if (!one) return null;
  const good = atLeast ? low(one) >= limit : high(one) <= limit;
  const bad = atLeast ? high(one) < limit : low(one) > limit;
  const end = one[2] === null ? "no upper bound" : one[2].toFixed(3);
  const text = `${name} ${one[0].toFixed(3)} [${low(one).toFixed(3)}, ${end}], ${atLeast ? "at least" : "at most"} ${limit}`;
  return [good ? "meets" : bad ? "fails" : "undecided", text];
}

/** evals.metrics.slo.kept, of a load's percentiles at `place`. */
function kept(load, setting, place) {
  const sides = [[load.ttft, setting.ttft], [load.tpot, setting.tpot]].map(([waits, most]) => {
    if (most === null) return "kept";
    if (waits === null) return "unclear";
    return high(waits[place]) <= most ? "kept" : low(waits[place]) > most ? "broken" : "unclear";
  });
  if (sides.includes("broken") || !load.keepsUp) return "broken";
  return sides.includes("unclear") ? "unclear" : "kept";
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

const isPromised = (setting) => setting.ttft !== null || setting.tpot !== null;
const isBounded = (setting) => setting.price !== null && setting.cost !== null;

/** reports.decision.ranking.Aim.asks: what must be kept under a load. */
const asks = (setting) =>
  [...(isPromised(setting) ? ["what users were promised"] : []), ...(isBounded(setting) ? ["what tokens may cost"] : [])].join(" and ");

/** reports.metrics.cost.affordable */
function affordable(rate, cell, setting) {
  if (!isBounded(setting)) return "kept";
  if (!cell.devices) return "unclear";
  const [, least, most] = perMillion(rate, cell.devices, setting.price);
  return most <= setting.cost ? "kept" : least > setting.cost ? "broken" : "unclear";
}

/** The cell's loads by which it is ranked, its rate there, and whether what is asked for is kept; null where a load of
 * the mix was not measured. */
function ranking(cell, setting, place) {
  const mix = mixOf(setting), promised = (load) => (isPromised(setting) ? kept(load, setting, place) : "kept");
  const worst = (sides) => ["broken", "unclear", "kept"].find((one) => sides.includes(one));
  const best = (sides) => ["kept", "unclear", "broken"].find((one) => sides.includes(one));
  if (mix.length || !asks(setting)) {
    const found = rateUnder(cell, mix);
    return found && { ...found, serves: worst([...found.loads.map(promised), affordable(found.rate, cell, setting)]) };
  }
  const sides = cell.loads.map((load) => worst([promised(load), affordable(load.rate, cell, setting)])), serves = best(sides);
  const most = cell.loads.filter((_, i) => sides[i] === serves).reduce((a, b) => (b.rate[0] > a.rate[0] ? b : a));
  return { loads: [most], rate: most.rate, serves };
}

/** reports.decision.ranking.OBJECTIVES: the figure that is to be best. */
const FIGURES = {
  throughput: (cell, rate) => rate,
  "per-device": (cell, rate) => cell.devices && rate.map((end) => end === null ? null : end / cell.devices),
  latency: (cell) => cell.latency,
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

/** reports.decision.pareto: which cells are on the frontier by values, and which are surely dominated. */
function frontier(data, plot, allowed, setting) {
  const turn = (one, less) => (less ? [-one[0], -high(one), -low(one)] : [one[0], low(one), high(one)]);
  const points = allowed.flatMap((cell) => {
    const x = onAxis(data.cells[cell], plot.x.name, setting), y = onAxis(data.cells[cell], plot.y.name, setting);
    return x && y ? [{ cell, x: turn(x, plot.x.less), y: turn(y, plot.y.less) }] : [];
  });
  const dominates = (a, b) => a.x[0] >= b.x[0] && a.y[0] >= b.y[0] && (a.x[0] > b.x[0] || a.y[0] > b.y[0]);
  const surely = (a, b) => dominates(a, b) && (a.x[1] > b.x[2] || a.y[1] > b.y[2]);
  const finite = points.filter((one) => Number.isFinite(one.x[0]) && Number.isFinite(one.y[0]));
  return {
    points: points.map((one) => one.cell),
    on: finite.filter((one) => !finite.some((other) => dominates(other, one))).map((one) => one.cell),
    dominated: points.filter((one) => points.some((other) => surely(other, one))).map((one) => one.cell),
  };
}

/** Judge, rank and draw frontiers again. `judged` has null for cells that are filtered out; cells are numbers. */
function conclude(data, setting) {
  const place = data.percentiles.indexOf(setting.percentile), objective = data.objectives[setting.objective];
  const hidden = (cell) => Object.entries(setting.without).some(([group, names]) => names.includes(cell[group]));
  const judged = data.cells.map((cell) => (hidden(cell) ? null : judge(cell, setting)));
  const numbers = data.cells.map((_, i) => i).filter((i) => judged[i]);
  const allowed = numbers.filter((i) => !["fails", "untrusted"].includes(judged[i][0]));
  const found = allowed.flatMap((number) => {
    const cell = data.cells[number];
    if (!cell.loads.length || !(cell.baseline || cell.accuracy || cell.perplexity)) return [];
    const one = ranking(cell, setting, place);
    const figure = one && FIGURES[setting.objective](cell, one.rate);
    return figure ? [{ number, figure, ...one }] : [];
  });
  const sign = objective.less ? 1 : -1, rank = (one) => [one.serves === "kept" ? 0 : 1, sign * one.figure[0]];
  const ranked = found.filter((one) => one.serves !== "broken")
    .sort((a, b) => rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1]);
  return {
    judged, allowed, ranked, broken: found.filter((one) => one.serves === "broken").map((one) => one.number),
    frontiers: Object.fromEntries(data.plots.map((plot) => [plot.name, frontier(data, plot, allowed, setting)])),
  };
}
