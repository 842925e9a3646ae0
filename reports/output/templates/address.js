// What is seen, in the address: a place of the page first, then axes, sort, columns, words, percentile. As with the setting, only
// what differs from the page as it was written; what is not understood is left as that has it.

const MOST_WORDS = 200;

/** Pairs of names and texts, beside those of the setting. */
function viewPairs() {
  const pairs = [];
  if (chart) {
    const { view, planned } = chart;
    for (const name of ["x", "y"]) if (view[name] !== planned[name]) pairs.push([name, view[name]]);
    const logs = ["x", "y"].filter((name) => view[`log${name.toUpperCase()}`]).join("");
    if (logs) pairs.push(["log", logs]);
    if (view.model !== planned.model) pairs.push(["of", view.model === null ? "all" : data.models.indexOf(view.model)]);
  }
  if (latency) {
    const { view, planned } = latency, changed = (name) => view[name] !== planned[name];
    if (changed("figure") || changed("place")) pairs.push(["latency", `${view.figure}-p${data.percentiles[view.place]}`]);
    if (changed("family")) pairs.push(["loads", view.family]);
    if (view.log) pairs.push(["latency-log", 1]);
  }
  for (const [name, { sort, words, hidden }] of TABLES) {
    if (sort) pairs.push([`sort-${name}`, `${sort.column}-${sort.down ? "down" : "up"}`]);
    if (words) pairs.push([`find-${name}`, words.slice(0, MOST_WORDS)]);
    if (hidden.size) pairs.push([`hide-${name}`, [...hidden].sort((a, b) => a - b).join(",")]);
  }
  return pairs;
}

/** Show what an address says. */
function showViews(text) {
  const given = new URLSearchParams(text), known = (axes, name, planned) => (axes.some((axis) => axis.name === name) ? name : planned);
  if (chart) {
    const { planned } = chart, logs = given.get("log") ?? "", of = given.get("of") ?? "";
    chart.change({
      x: known(data.chart.x, given.get("x"), planned.x), y: known(data.chart.y, given.get("y"), planned.y), logX: logs.includes("x"), logY: logs.includes("y"),
      model: of === "all" && data.models.length > 1 ? null : /^\d{1,4}$/.test(of) && data.models.length > 1 ? data.models[of] ?? planned.model : planned.model,
    });
    showAxisFields();
  }
  if (latency) {
    const { planned } = latency, [, figure, percent] = /^(ttft|tpot)-p([\d.]{1,8})$/.exec(given.get("latency") ?? "") ?? [], place = data.percentiles.indexOf(Number(percent));
    const family = /^\d{1,4}$/.test(given.get("loads") ?? "") ? Number(given.get("loads")) : planned.family;
    latency.change({
      figure: place < 0 ? planned.figure : figure, place: place < 0 ? planned.place : place, log: given.has("latency-log"), family: family < data.families.length ? family : planned.family,
    });
  }
  for (const [name, table] of TABLES) {
    const count = table.names.length, [, column, way] = /^(\d{1,4})-(up|down)$/.exec(given.get(`sort-${name}`) ?? "") ?? [];
    const sort = column !== undefined && Number(column) < count ? { column: Number(column), down: way === "down" } : null;
    if (sort || table.sort) table.order(sort);
    table.columns((given.get(`hide-${name}`) ?? "").split(",").filter((place) => /^\d{1,4}$/.test(place)).map(Number).filter((place) => place > 0 && place < count));
    table.filter((given.get(`find-${name}`) ?? "").slice(0, MOST_WORDS));
  }
}

// Places: a link adds an entry to the browser's history, so that Back returns to where the reader was. A setting replaces the entry.

const SEEN = { seen: true }; // an entry that this page made: the browser knows where it was scrolled to

/** The id that an address begins with; empty where it names no element. */
function placeIn(hash) {
  const [first] = hash.slice(1).split("&");
  return first && !first.includes("=") && document.getElementById(first) ? first : "";
}

/** The rest of an address. */
const stateIn = (hash) => hash.slice(1 + placeIn(hash).length).replace(/^&/, "");

function addressOf(place) {
  const hash = [place, toHash(setting), String(new URLSearchParams(viewPairs()))].filter(Boolean).join("&");
  return hash ? `#${hash}` : location.pathname + location.search;
}

/** The address holds the setting and what is seen. */
const remember = () => history.replaceState(SEEN, "", addressOf(placeIn(location.hash)));

function go(place) {
  history.pushState(SEEN, "", addressOf(place));
  reveal(place);
}

/** Scroll to a place, below the index; the keyboard goes on from there. */
function reveal(place) {
  const target = document.getElementById(place), details = target.closest("details");
  const focused = (place === "chart" && target.querySelector('[tabindex="0"]')) || target;
  if (details) details.open = true;
  if (focused.tabIndex < 0) focused.tabIndex = -1;
  focused.focus({ preventScroll: true });
  target.scrollIntoView();
}

/** After the page was opened by an address, or that was changed. */
function arrive() {
  const place = placeIn(location.hash);
  if (place && !history.state) reveal(place);
  history.replaceState(SEEN, "");
}

/** The figure that led to a cell's evidence, above it. */
function showFigure(link) {
  document.querySelector(".clicked")?.remove();
  const cell = link.closest("#table-latency td");
  if (!cell) return;
  const figure = latency.fields.figure.selectedOptions[0].text, percentile = data.percentiles[latency.view.place];
  const line = element(document.body, "p", `${figure} p${percentile}, ms, at ${TABLES.get("latency").names[cell.cellIndex]}: ${link.textContent}`, "clicked");
  document.getElementById(link.hash.slice(1)).after(line);
}

function followLinks() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]:not(.what)');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault(); // the address keeps the setting
    showFigure(link);
    go(link.hash.slice(1));
  });
  addEventListener("hashchange", () => {
    if (history.state || stateIn(location.hash) || !placeIn(location.hash)) {
      restore();
      show();
    }
    arrive();
    if (placeIn(location.hash)) remember();
  });
}
