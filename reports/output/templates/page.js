// Controls, link and answer: a setting goes into the address, what is concluded from it onto the page.

const data = JSON.parse(document.getElementById("data").textContent);
const GROUPS = ["model", "method", "engine", "device"], MILLISECONDS = 1000, MOST_ROWS = 12;
const NUMBERS = ["recovery", "perplexity", "kl", "memory", "ttft", "tpot", "price", "cost"], OPTIONAL = ["memory", "ttft", "tpot", "price", "cost"];
const scaleOf = (name) => (name === "ttft" || name === "tpot" ? MILLISECONDS : 1);
const form = document.getElementById("what-if"), planned = { ...data.planned, mix: {}, without: {} };
let setting = structuredClone(planned);

/** An element with a class and a text: text is never markup. */
function element(parent, name, text = "", className = "") {
  const one = document.createElement(name);
  one.textContent = text;
  if (className) one.className = className;
  return parent.appendChild(one);
}

// The address: only what differs from the plan, so that a link says what was changed.

function toHash(one) {
  const found = new URLSearchParams();
  for (const name of [...NUMBERS, "objective", "percentile"]) if (one[name] !== planned[name]) found.set(name, one[name] ?? "none");
  for (const [load, share] of mixOf(one)) found.append("mix", `${load}:${share}`);
  for (const [group, names] of Object.entries(one.without)) for (const name of names) found.append(`without-${group}`, name);
  return String(found);
}

/** What is not understood is left as planned: an address may hold anything. */
function fromHash(text) {
  const one = structuredClone(planned), found = new URLSearchParams(text);
  for (const name of NUMBERS) {
    const said = found.get(name), value = Number(said);
    if (said === "none" && OPTIONAL.includes(name)) one[name] = null;
    else if (said && Number.isFinite(value) && value >= 0) one[name] = value;
  }
  if (Object.hasOwn(data.objectives, found.get("objective") ?? "")) one.objective = found.get("objective");
  if (data.percentiles.includes(Number(found.get("percentile")))) one.percentile = Number(found.get("percentile"));
  for (const said of found.getAll("mix")) {
    const [load, share] = said.split(":").map(Number);
    if (Object.hasOwn(data.loads, load) && share > 0 && Number.isFinite(share)) one.mix[load] = share;
  }
  for (const group of GROUPS) {
    const known = data.cells.map((cell) => cell[group]), names = found.getAll(`without-${group}`).filter((name) => known.includes(name));
    if (names.length) one.without[group] = names;
  }
  return one;
}

// Controls. A slider and a field hold the same number; of an optional one the slider's end and an empty field mean none.

function fields() {
  for (const row of form.querySelectorAll("[data-limit]")) {
    const name = row.dataset.limit, [slider, field] = row.querySelectorAll("input");
    const take = (text) => {
      const none = text === "" && OPTIONAL.includes(name);
      if (text === "" && !none) return;
      change({ [name]: none ? null : Number(text) / scaleOf(name) });
    };
    slider.addEventListener("input", () => take(OPTIONAL.includes(name) && slider.value === slider.max ? "" : slider.value));
    field.addEventListener("input", () => field.validity.valid && take(field.value));
  }
  form.elements.objective.addEventListener("change", (event) => change({ objective: event.target.value }));
  form.elements.percentile.addEventListener("change", (event) => change({ percentile: Number(event.target.value) }));
  form.elements.price.addEventListener("input", ({ target }) => target.validity.valid && change({ price: target.value === "" ? null : Number(target.value) }));
  for (const one of form.querySelectorAll("[data-load]"))
    one.addEventListener("input", () => one.validity.valid && change({ mix: { ...setting.mix, [one.dataset.load]: Number(one.value) } }));
  for (const one of form.querySelectorAll("[data-group]")) one.addEventListener("change", () => change({ without: unchecked() }));
  for (const one of form.querySelectorAll("[data-use]")) one.addEventListener("click", () => use(data.uses[one.dataset.use]));
  form.querySelector("[data-reset]").addEventListener("click", () => change(structuredClone(planned)));
  form.addEventListener("submit", (event) => event.preventDefault());
}

const use = ({ objective, ttft, tpot, percentile }) => change({ objective, ttft, tpot, percentile });

const MOST = new Map();

/** The slider's end: beyond all that was measured. Only that of the cost depends on the setting. */
function mostOf(name) {
  const key = name === "cost" ? `cost ${setting.price}` : name;
  if (!MOST.has(key)) MOST.set(key, mostMeasured(name));
  return MOST.get(key);
}

function mostMeasured(name) {
  const place = data.percentiles.length - 1;
  const found = data.cells.flatMap((cell) => {
    if (name === "memory") return [cell.memory?.[0]];
    if (name !== "cost") return cell.loads.map((load) => load[name]?.[place][0]);
    return cell.devices ? cell.loads.map((load) => perMillion(load.rate, cell.devices, setting.price ?? 0)[0]) : [];
  });
  const most = Math.max(...found.filter(Number.isFinite), planned[name] ?? 0) * scaleOf(name);
  return most > 0 ? +(1.1 * most).toPrecision(2) : 1;
}

function unchecked() {
  const found = {};
  for (const one of form.querySelectorAll("[data-group]:not(:checked)")) (found[one.dataset.group] ??= []).push(one.value);
  return found;
}

function showFields() {
  for (const row of form.querySelectorAll("[data-limit]")) {
    const name = row.dataset.limit, [slider, field] = row.querySelectorAll("input");
    if (slider.dataset.most) slider.max = mostOf(name);
    const shown = setting[name] === null ? "" : +(setting[name] * scaleOf(name)).toPrecision(6);
    if (document.activeElement !== field) field.value = shown;
    slider.value = shown === "" ? slider.max : shown;
    slider.setAttribute("aria-valuetext", shown === "" ? "no limit" : shown);
  }
  if (document.activeElement !== form.elements.price) form.elements.price.value = setting.price ?? "";
  form.elements.objective.value = setting.objective;
  form.elements.percentile.value = setting.percentile;
  for (const one of form.querySelectorAll("[data-load]")) if (document.activeElement !== one) one.value = setting.mix[one.dataset.load] ?? 0;
  for (const one of form.querySelectorAll("[data-group]")) one.checked = !setting.without[one.dataset.group]?.includes(one.value);
}

let waiting = false;

function change(what) {
  setting = { ...setting, ...what };
  if (waiting) return;
  waiting = true; // many events of one drag, one look
  requestAnimationFrame(() => {
    waiting = false;
    show();
    setTimeout(remember); // after the answer was drawn: on a large page it takes a browser 10 ms
  });
}

// The answer

function show() {
  const result = conclude(data, setting);
  showFields();
  showAnswer(result);
  showRows(result);
  document.getElementById("then").dataset.setting = toHash(setting) || "as planned"; // printed in place of the form
  chart?.update(result, setting);
  latency?.update(result);
  filterTables(data.cells.flatMap((_, i) => (result.judged[i] ? [] : [i])));
  for (const one of document.querySelectorAll("[data-legend]")) one.setAttribute("aria-pressed", !setting.without[one.dataset.legend]?.includes(one.value));
}

const costOf = (one) => {
  const { devices } = data.cells[one.number];
  return setting.price === null || !devices ? null : perMillion(one.rate, devices, setting.price);
};
const placeOf = (one) => mixLabel(one.loads.map(labelOf));

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

/** A paragraph of the table's words; what is handed over as an element stays one. */
function paragraph(parent, name, values, className = "") {
  const parts = data.rules.words[name].split(/\{(\w+)\}/); // words and names by turns
  element(parent, "p", "", className).append(...parts.map((part, i) => (i % 2 ? values[part] : part)));
}

const strong = (text, className = "") => element(document.createDocumentFragment(), "strong", text, className);

function showAnswer({ answers }) {
  const place = document.getElementById("then");
  place.replaceChildren();
  for (const answer of answers) showModel(place, answer);
}

function showModel(place, answer) {
  const { chosen: best, ranked, caveats, alternative } = answer, objective = data.objectives[setting.objective];
  if (!best) {
    element(place, "p", sentence(refusal(data, answer)));
    return;
  }
  const { unit, title } = objective, at = placeOf(best), cell = data.cells[best.number], isLatency = setting.objective === "latency";
  const of = { cell: strong(cell.name), figure: interval(best.figure), unit, title, at: isLatency ? labelOf(cell.loads[cell.calmest]) : at };
  paragraph(place, objective.less && !isLatency ? "recommended" : "recommended_at", of);
  for (const caveat of caveats) paragraph(place, "but", { caveat }, "bad");
  if (alternative) element(place, "p", sentence(alternative));
  const cost = costOf(best);
  if (cost) paragraph(place, "costs", { cost: interval(cost), currency: data.currency, at });
  if (ranked[1]) {
    const theirs = placeOf(ranked[1]), ratio = number(ranked[1].figure[0] / best.figure[0]);
    paragraph(place, "second", { cell: strong(data.cells[ranked[1].number].name, "second"), ratio, unit: objective.less || theirs === at ? unit : unit + say("apart", { at: theirs, theirs: at }) });
  }
}

/** The ranked cells first, then those that were not chosen for a reason: number, verdict, why, and the candidate that it is. */
function rowsOf({ answers, judged }, setting) {
  const ranked = answers.flatMap((answer) => answer.ranked), violated = answers.flatMap((answer) => answer.violated);
  const known = new Set([...ranked.map((one) => one.number), ...violated]);
  const others = judged.flatMap((one, i) => (one && !known.has(i) ? [[i, one[0], one[1]]] : []));
  return [
    ...ranked.map((one) => [one.number, ...judged[one.number].slice(0, 2), one]),
    ...violated.map((i) => [i, "fails", say(mixOf(setting).length ? "no_mix" : "no_load", { asks: asks(setting) }), null]),
    ...others.map((one) => [...one, null]),
  ];
}

function showRows(result) {
  const body = document.getElementById("ranked"), rows = rowsOf(result, setting);
  const all = document.getElementById("all-rows").open, shown = all ? rows : rows.slice(0, MOST_ROWS);
  const title = document.getElementById("figure-title"), isRate = setting.objective === "throughput";
  title.textContent = data.objectives[setting.objective].unit;
  title.hidden = isRate; // the next column has it
  document.getElementById("row-count").textContent = `All ${rows.length} cells`;
  body.replaceChildren(...shown.map(([i, verdict, why, one]) => {
    const row = document.createElement("tr"), cost = one && costOf(one);
    element(row, "th", data.cells[i].name).scope = "row";
    element(row, "td", verdict, isBarred(verdict) ? "bad" : verdict === "meets" ? "good" : "");
    element(row, "td", one ? interval(one.figure) : "–", "n").hidden = isRate;
    element(row, "td", one ? interval(one.rate) : "–", "n");
    element(row, "td", cost ? interval(cost) : "–", "n");
    element(row, "td", why, "wrap");
    return row;
  }));
}

// Commands

/** Pages of a file have a clipboard in most browsers; where there is none, the text is selected for the reader. */
async function copy({ currentTarget: button }) {
  const status = button.parentElement.querySelector("[role=status]"), text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
    status.textContent = "copied";
  } catch {
    const shown = [...button.closest(".answer").querySelectorAll("pre")].find((one) => one.textContent === text);
    shown.closest("details").open = true;
    getSelection().selectAllChildren(shown);
    status.textContent = "not copied: the text is selected below, press Ctrl+C";
  }
}
for (const one of document.querySelectorAll("[data-copy]")) one.addEventListener("click", copy);

// On paper nothing can be opened. A form that is closed, and the chart's buttons, are not printed.
const closed = [];
addEventListener("beforeprint", () => {
  closed.push(...document.querySelectorAll("details:not([open], #drawer, #all-rows, .legend, .tools *)"));
  for (const one of closed) one.open = true;
});
addEventListener("afterprint", () => { for (const one of closed.splice(0)) one.open = false; });

function restore() {
  const state = stateIn(location.hash);
  setting = fromHash(state);
  showViews(state);
}

for (const one of document.querySelectorAll("[data-scripted]")) one.hidden = false;
startCharts();
startTables(remember);
document.getElementById("all-rows").addEventListener("toggle", () => showRows(conclude(data, setting)));
fields();
restore();
document.getElementById("drawer").open = toHash(setting) !== "";
show();
followLinks();
arrive();
