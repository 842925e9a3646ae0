// What is seen, in the address: axes, sort, columns, words, percentile. As with the setting, only what differs from the page as it was
// written; what is not understood is left as that has it.

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
