// The table of rules, `reports/decision/rules.toml`, which the page's data hold, and what evaluates it, as `reports.decision.rules` and
// `reports.decision.wording` do. No rule, number or sentence of it is written in a script.

const COMPARISONS = {
  "<": (a, b) => a < b, "<=": (a, b) => a <= b, "==": (a, b) => a === b, "!=": (a, b) => a !== b, ">=": (a, b) => a >= b, ">": (a, b) => a > b,
};

/** An interval is [value, low, high] with null for an end that has no bound. */
const low = (one) => (one[1] === null ? -Infinity : one[1]);
const high = (one) => (one[2] === null ? Infinity : one[2]);

/** Whether all conditions hold; a name is that of a figure, or of a threshold. Yes is 1, no is 0. */
function holds(conditions, figures) {
  const named = (name) => Number(Object.hasOwn(figures, name) ? figures[name] : data.rules.thresholds[name]);
  return conditions.every(([figure, comparison, other]) => COMPARISONS[comparison](named(figure), typeof other === "string" ? named(other) : other));
}

const likely = (probability) => holds(data.rules.conditions.likely, { probability });

/** Where something stands in an order of the table: the least is the best. */
const standing = (order, figures) => data.rules.orders[order].map(({ figure, better }) => (better === "higher" ? -figures[figure] : +figures[figure]));

/** Which of two lists comes later, by the first place where they differ. */
const compared = (a, b) => a.map((value, i) => value - b[i]).find((difference) => difference) ?? 0;

/** What an interval says of a limit. */
function verdictOf(direction, one, limit) {
  const rule = data.rules.directions[direction], figures = { value: one[0], low: low(one), high: high(one), limit };
  return ["meets", "fails"].find((verdict) => holds(rule[verdict], figures)) ?? "inconclusive";
}

const LIMITS = new Map(); // what is found by these two, once: each cell asks
function limitsOf(of, against) {
  const key = `${of} ${against}`;
  if (!LIMITS.has(key)) LIMITS.set(key, data.rules.limits.filter((rule) => rule.of === of && (against === undefined || rule.against === against)));
  return LIMITS.get(key);
}
const isBarred = (verdict) => data.rules.verdicts.barred.includes(verdict);

/** Words with their figures. */
const fill = (words, values) => words.replace(/\{(\w+)\}/g, (_, key) => values[key]);
const say = (sentence, values = {}) => fill(data.rules.words[sentence], values);
const mixLabel = (loads) => (loads.length === 1 ? loads[0] : say("mix", { count: loads.length }));

/** Numbers as they are written in sentences. */
const infinite = (value) => (Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf");
const fixed = (value, kind) => (Number.isFinite(value) ? value.toFixed(data.rules.digits[kind]) : infinite(value));
const significant = (value) => (Number.isFinite(value) ? String(+value.toPrecision(data.rules.digits.significant)) : infinite(value));
const percentText = (share) => fixed(100 * share, 100 * share < 10 ? "percent" : "percents");
