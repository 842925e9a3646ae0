// What readers do with the frontier chart: axes, engines and methods shown, details, evidence, export.

let tip = null, chart = null, latency = null;

function startCharts() {
  tip = element(document.body, "div", "", "tip");
  tip.setAttribute("role", "status");
  tip.hidden = true;
  addEventListener("keydown", (event) => event.key === "Escape" && (tip.hidden = true));
  if (document.getElementById("latency")) latency = new Latency(data, remember);
  const place = document.getElementById("chart");
  if (!place) return;
  spreadLoads(data);
  chart = new Chart(place, data, { shown: point, open: (i) => go(`cell-${i}`) });
  chartControls();
}

function point(one, dot) {
  if (one === null) return showTip(null);
  const { cell } = one, result = judge(cell, setting), known = [...data.chart.y, ...data.chart.x], lines = [cell.name];
  const shown = new Set([chart.view.y, chart.view.x, "throughput", "memory", "recovery", "perplexity"]);
  for (const axis of known.filter((axis, k) => shown.has(axis.name) && known.findIndex((other) => other.name === axis.name) === k)) {
    const found = onAxis(cell, axis.name, setting);
    if (found) lines.push(`${axis.label}: ${interval(found)}`);
  }
  if (one.recommended) lines.push("recommended");
  if (one.odds !== null) lines.push(`probability of being Pareto-optimal: ${one.odds.toFixed(2)}`);
  showTip([...lines, `${result[0]}: ${result[1]}`], dot);
}

/** Lines of text beside what is pointed at, a name first; null when it is left. */
function showTip(lines, dot) {
  tip.hidden = lines === null;
  if (lines === null) return;
  const place = dot.getBoundingClientRect(), [name, ...others] = lines;
  tip.replaceChildren();
  element(tip, "strong", name);
  for (const line of others) element(tip, "div", line);
  const right = place.left > innerWidth / 2;
  tip.style.left = right ? "" : `${scrollX + place.right + 8}px`;
  tip.style.right = right ? `${document.documentElement.clientWidth - scrollX - place.left + 8}px` : "";
  tip.style.top = `${scrollY + place.bottom + 8}px`;
}

function chartControls() {
  for (const name of ["x", "y"]) {
    axisField(name).addEventListener("change", ({ target }) => showAxes({ [name]: target.value }));
    logField(name).addEventListener("change", ({ target }) => showAxes({ [`log${name.toUpperCase()}`]: target.checked }));
  }
  modelField()?.addEventListener("change", ({ target }) => showAxes({ model: target.value === "" ? null : data.models[target.value] }));
  for (const button of document.querySelectorAll("[data-export]")) button.addEventListener("click", () => save(button.dataset.export));
  legend("engine", "Engines shown", (name, place) => { place.style.color = chart.colour(name); place.textContent = GLYPHS[chart.shape(name)]; });
  legend("method", "Methods shown", (_, place) => place.remove());
}

const axisField = (name) => document.getElementById(`${name}-axis`), logField = (name) => document.getElementById(`${name}-log`), modelField = () => document.getElementById("chart-model");

function showAxes(view) {
  chart.change(view);
  showAxisFields();
  remember();
}

function showAxisFields() {
  const { view } = chart, model = modelField();
  for (const name of ["x", "y"]) {
    axisField(name).value = view[name];
    logField(name).checked = view[`log${name.toUpperCase()}`];
    explainBeside(name, chart[name].about);
  }
  if (model) model.value = view.model === null ? "" : data.models.indexOf(view.model);
}

/** A button for each name: pressed while its cells are there. The what-if setting holds the same filter. */
function legend(group, label, swatch) {
  const place = document.querySelector(`.chart [aria-label="${label}"]`);
  for (const name of [...new Set(data.cells.map((cell) => cell[group]))].sort()) {
    const button = element(place, "button");
    button.type = "button";
    button.dataset.legend = group;
    button.value = name;
    swatch(name, element(button, "span"));
    button.append(` ${name}`);
    button.addEventListener("click", () => {
      const hidden = setting.without[group] ?? [], left = hidden.includes(name) ? hidden.filter((other) => other !== name) : [...hidden, name];
      const { [group]: _, ...others } = setting.without;
      change({ without: left.length ? { ...others, [group]: left } : others });
    });
  }
}

async function save(kind) {
  const link = document.createElement("a");
  link.href = kind === "svg" ? `data:image/svg+xml;charset=utf-8,${encodeURIComponent(chart.toSvg())}` : await chart.toPng();
  link.download = `frontier-${chart.view.y}-${chart.view.x}.${kind}`;
  link.click();
}
