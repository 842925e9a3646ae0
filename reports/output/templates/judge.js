// Which limits each cell keeps, and with what probability: `reports.decision.verdicts` and `limit_probability`, once more, tested
// against them. An interval is [value, low, high] with null for an end that has no bound. Nothing here touches the page.

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

const BARRED = ["fails", "untrusted"];
const joined = (checks) => checks.map((check) => check[1]).join("; ");

/** reports.decision.limit_probability: with less a cell is not recommended, and what an interval says of a limit. */
const LEAST_KEPT = 0.9, UNBOUNDED = 1e9, Z95 = 1.959963984540054;
const allKept = (probabilities) => Math.max(0, 1 - sum(probabilities.map((probability) => 1 - probability)));

/** Of the standard normal distribution, below z (Marsaglia, Journal of Statistical Software 11, 2004). */
function normalBelow(z) {
  if (Math.abs(z) > 8) return z > 0 ? 1 : 0;
  let total = z, before = NaN, term = z;
  for (let n = 3; total !== before; n += 2) [before, term] = [total, (term * z * z) / n, (total += (term * z * z) / n)];
  return 0.5 + total * Math.exp(-0.5 * z * z - 0.91893853320467274178);
}

function keeps(one, limit, atLeast) {
  const log = (value) => (value > 0 ? Math.log(value) : -Infinity), facing = one[0] > limit ? low(one) : high(one);
  const half = one[0] > 0 ? Math.abs(log(one[0]) - log(facing)) : Infinity;
  if (!(half > 0 && half < UNBOUNDED) || facing > UNBOUNDED) return 0.5;
  const above = normalBelow(((log(one[0]) - log(limit)) / half) * Z95);
  return atLeast ? above : 1 - above;
}

/** reports.decision.verdicts.judge: [verdict, why, probability that all limits are kept]. */
function judge(cell, setting) {
  if (cell.doubts) return ["untrusted", cell.doubts, 0];
  const memory = setting.memory === null ? null : cell.memory
    ? check("memory", cell.memory, setting.memory, "at_most") : ["inconclusive", say("memory_unseen"), 0];
  const engine = cell.engineLoss && engineCheck(cell.engineLoss, setting);
  const judged = cell.baseline ? [engine]
    : cell.direct ? [...againstReference(cell.direct, engine, setting), check("kl", cell.kl, setting.kl, "at_most")]
    : [engine, ...againstBaseline(cell, setting)];
  const checks = [...judged, memory].filter((one) => one);
  for (const verdict of ["fails", "inconclusive"]) {
    const reasons = checks.filter((one) => one[0] === verdict);
    if (reasons.length) return [verdict, joined(reasons), verdict === "fails" ? 0 : allKept(reasons.map((one) => one[2]))];
  }
  return cell.baseline ? ["baseline", say("baseline"), 1] : ["meets", joined(checks), 1];
}

/** What users get: the cell against the model's reference, with what its engine loses where that is no good. */
function againstReference(direct, engine, setting) {
  const recovered = direct.nothingRecovered ? [["inconclusive", say("nothing_recovered"), 0]] : [];
  const checks = [...recovered, ...quality(direct.recovery, direct.perplexity, setting, direct.reference)].filter((one) => one);
  const worst = ["fails", "inconclusive"].find((verdict) => checks.some((one) => one[0] === verdict));
  return engine && worst ? [...checks, [worst, engine[1], 1]] : checks;
}

/** What quantization did. */
function againstBaseline(cell, setting) {
  if (!cell.accuracy && !cell.perplexity) return [["inconclusive", say("not_scored"), 0]];
  const recovered = cell.nothingRecovered ? [["inconclusive", say("nothing_recovered"), 0]] : [];
  const checks = [...recovered, ...quality(cell.recovery, cell.perplexity, setting), check("kl", cell.kl, setting.kl, "at_most")].filter((one) => one);
  return checks.length ? checks : [["inconclusive", say("no_baseline"), 0]];
}

const quality = (recovery, perplexity, setting, reference = "") =>
  [check("recovery", recovery, setting.recovery, "at_least", reference), check("perplexity", perplexity, setting.perplexity, "at_most", reference)];

/** reports.decision.verdicts.engine_check */
function engineCheck(loss, setting) {
  const { engine, reference } = loss;
  if (!loss.same && !loss.recovery && !loss.perplexity) return ["inconclusive", say("engine_unknown", { engine, reference }), 0];
  const checks = quality(loss.same ? null : loss.recovery, loss.sameTokens ? null : loss.perplexity, setting).filter((one) => one);
  for (const [verdict, sentence] of [["fails", "engine_fails"], ["inconclusive", "engine_undecided"]]) {
    const reasons = checks.filter((one) => one[0] === verdict);
    const why = say(sentence, { why: joined(reasons), engine, reference });
    if (reasons.length) return [verdict, why, allKept(reasons.map((one) => one[2]))];
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
  return good ? ["meets", text, 1] : bad ? ["fails", text, 0] : ["inconclusive", text, keeps(one, limit, atLeast)];
}

/** reports.decision.verdicts.point_to_scored */
function pointToScored(cells, judged) {
  const scored = Object.fromEntries(
    cells.filter((cell, i) => judged[i] && (cell.accuracy || cell.perplexity)).map((cell) => [cell.checkpoint, cell.name]));
  return judged.map((one, i) => {
    const name = one && cells[i].silent ? scored[cells[i].checkpoint] : undefined;
    return name === undefined ? one : [one[0], say("scored_elsewhere", { why: one[1], name }), one[2]];
  });
}
