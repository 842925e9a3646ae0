// What readers do with the frontier chart: axes, engines and methods shown, details, evidence, export.

let tip = null, chart = null;

function startChart() {
  const place = document.getElementById("chart");
  if (!place) return;
  spreadLoads(data);
  tip = element(document.body, "div", "", "tip");
  tip.setAttribute("role", "status");
  tip.hidden = true;
  addEventListener("keydown", (event) => event.key === "Escape" && (tip.hidden = true));
  chart = new Chart(place, data, { shown: point, open: openCell });
  chartControls();
}

function point(one, dot) {
  tip.hidden = one === null;
  if (one === null) return;
  const { cell, i } = one, result = judge(cell, setting), place = dot.getBoundingClientRect(), known = [...data.chart.y, ...data.chart.x];
  tip.replaceChildren();
  element(tip, "strong", cell.name);
  const shown = new Set([chart.view.y, chart.view.x, "throughput", "memory", "recovery", "perplexity"]);
  for (const axis of known.filter((axis, k) => shown.has(axis.name) && known.findIndex((other) => other.name === axis.name) === k)) {
    const found = onAxis(cell, axis.name, setting);
    if (found) element(tip, "div", `${axis.label}: ${interval(found)}`);
  }
  if (one.recommended) element(tip, "div", "recommended");
  if (one.odds !== null) element(tip, "div", `probability of being Pareto-optimal: ${one.odds.toFixed(2)}`);
  element(tip, "div", `${result[0]}: ${result[1]}`, "dim");
  const right = place.left > innerWidth / 2;
  tip.style.left = right ? "" : `${scrollX + place.right + 8}px`;
  tip.style.right = right ? `${document.documentElement.clientWidth - scrollX - place.left + 8}px` : "";
  tip.style.top = `${scrollY + place.bottom + 8}px`;
}

/** The evidence of a cell. */
function openCell(i) {
  const details = document.getElementById(`cell-${i}`);
  details.open = true;
  details.querySelector("summary").focus();
  details.scrollIntoView();
}

function chartControls() {
  for (const name of ["x", "y"]) {
    const log = document.getElementById(`${name}-log`), axis = document.getElementById(`${name}-axis`);
    axis.value = chart.view[name];
    axis.addEventListener("change", () => chart.change({ [name]: axis.value }));
    axis.addEventListener("change", () => explainAxis(name, chart[name]));
    log.addEventListener("change", () => chart.change({ [`log${name.toUpperCase()}`]: log.checked }));
  }
  const model = document.getElementById("chart-model");
  model?.addEventListener("change", () => chart.change({ model: model.value === "" ? null : data.models[model.value] }));
  for (const button of document.querySelectorAll("[data-export]")) button.addEventListener("click", () => save(button.dataset.export));
  legend("engine", "Engines shown", (name, place) => { place.style.color = COLOURS[chart.engines.indexOf(name) % COLOURS.length]; place.textContent = ["●", "■", "▲", "◆"][Math.floor(chart.engines.indexOf(name) / COLOURS.length) % 4]; });
  legend("method", "Methods shown", (_, place) => place.remove());
}

/** The "?" beside an axis is that of what it shows. */
function explainAxis(name, axis) {
  const link = document.querySelector(`[data-about="${name}"] a`), definition = document.getElementById(`about-${axis.about}`);
  link.href = `#about-${axis.about}`;
  link.setAttribute("aria-label", `What is ${definition.querySelector("dt").textContent}?`);
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
