// Which limits each cell keeps, and with what probability: `reports.decision.verdicts` and `limit_probability`, once more, tested
// against them. Limits and sentences are those of the table of rules; probabilities are computed here. Nothing here touches the page.

const sum = (values) => values.reduce((total, value) => total + value, 0);
const joined = (checks) => checks.map((check) => check[1]).join("; ");

/** reports.decision.limit_probability: what an interval says of a limit. */
const Z95 = 1.959963984540054; // the normal quantile that half of a 95 % interval is
const allKept = (probabilities) => Math.max(0, 1 - sum(probabilities.map((probability) => 1 - probability)));

/** Of the standard normal distribution, below z (Marsaglia, Journal of Statistical Software 11, 2004). */
function normalBelow(z) {
  if (Math.abs(z) > 8) return z > 0 ? 1 : 0;
  let total = z, before = NaN, term = z;
  for (let n = 3; total !== before; n += 2) [before, term] = [total, (term * z * z) / n, (total += (term * z * z) / n)];
  return 0.5 + total * Math.exp(-0.5 * z * z - 0.91893853320467274178);
}

function keeps(one, limit, atLeast) {
  const { unbounded } = data.rules.thresholds, log = (value) => (value > 0 ? Math.log(value) : -Infinity), facing = one[0] > limit ? low(one) : high(one);
  const half = one[0] > 0 ? Math.abs(log(one[0]) - log(facing)) : Infinity;
  if (!(half > 0 && half < unbounded) || facing > unbounded) return 0.5;
  const above = normalBelow(((log(one[0]) - log(limit)) / half) * Z95);
  return atLeast ? above : 1 - above;
}

/** The first of the table's verdicts, from the worst one, that any check has. */
const worstOf = (checks) => data.rules.verdicts.worst_first.find((verdict) => checks.some((one) => one[0] === verdict));
const inconclusive = (sentence, values) => ["inconclusive", say(sentence, values), 0];

/** reports.decision.verdicts.judge: [verdict, why, probability that all limits are kept]. */
function judge(cell, setting) {
  if (cell.doubts) return ["untrusted", cell.doubts, 0];
  const engine = cell.engineLoss && engineCheck(cell.engineLoss, setting);
  const quality = cell.baseline ? [engine]
    : cell.direct ? [...againstReference(cell.direct, engine, setting), ...checksOf("baseline", cell, setting)]
    : [engine, ...againstBaseline(cell, setting)];
  const checks = [...quality, ...checksOf("nothing", cell, setting)].filter((one) => one), worst = worstOf(checks);
  if (!worst) return cell.baseline ? ["baseline", say("baseline"), 1] : ["meets", joined(checks), 1];
  const reasons = checks.filter((one) => one[0] === worst);
  return [worst, joined(reasons), worst === "fails" ? 0 : allKept(reasons.map((one) => one[2]))];
}

/** What users get: the cell against the model's reference, with what its engine loses where that is no good. */
function againstReference(direct, engine, setting) {
  const recovered = direct.nothingRecovered ? [inconclusive("nothing_recovered")] : [];
  const checks = [...recovered, ...checksOf("reference", direct, setting, direct.reference)], worst = worstOf(checks);
  return engine && worst ? [...checks, [worst, engine[1], 1]] : checks;
}

/** What quantization did. */
function againstBaseline(cell, setting) {
  if (!cell.accuracy && !cell.perplexity) return [inconclusive("not_scored")];
  const recovered = cell.nothingRecovered ? [inconclusive("nothing_recovered")] : [];
  const checks = [...recovered, ...checksOf("reference", cell, setting), ...checksOf("baseline", cell, setting)];
  return checks.length ? checks : [inconclusive("no_baseline")];
}

/** reports.decision.verdicts.engine_check */
function engineCheck(loss, setting) {
  const { engine, reference } = loss;
  if (!loss.same && !loss.recovery && !loss.perplexity) return inconclusive("engine_unknown", { engine, reference });
  const checks = checksOf("reference", { recovery: loss.same ? null : loss.recovery, perplexity: loss.sameTokens ? null : loss.perplexity }, setting);
  const worst = worstOf(checks), reasons = checks.filter((one) => one[0] === worst);
  return worst ? [worst, say(`engine_${worst}`, { why: joined(reasons), engine, reference }), allKept(reasons.map((one) => one[2]))] : null;
}

/** By the table's limits of a cell that are held against the same, in its order; none of a limit that is not set. */
const checksOf = (against, figures, setting, reference = "") => limitsOf("cell", against)
  .filter((rule) => setting[rule.key] !== null).map((rule) => check(rule, figures[rule.key], setting[rule.key], reference)).filter((one) => one);

function check(rule, one, limit, reference) {
  if (!one) return rule.unknown ? inconclusive(rule.unknown) : null;
  const text = fill(data.rules.directions[rule.direction].words, {
    name: reference ? say("against", { name: rule.name, reference }) : rule.name,
    value: fixed(one[0], "check"), low: fixed(low(one), "check"),
    high: high(one) < data.rules.thresholds.unbounded ? fixed(one[2], "check") : say("no_upper_bound"),
    limit: +limit.toPrecision(6),
  });
  const verdict = verdictOf(rule.direction, one, limit);
  return [verdict, text, verdict === "meets" ? 1 : verdict === "fails" ? 0 : keeps(one, limit, rule.direction === "at_least")];
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
