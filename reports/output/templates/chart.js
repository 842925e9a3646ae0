// The frontier chart. Observable Plot draws axes and marks; names, keys, details and export are added to what it drew.

const SVG = "http://www.w3.org/2000/svg", MOST_FAINT = 200, MOST_NAMES = 24, AFTER_MILLISECONDS = 80;
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9"]; // Okabe and Ito
const SHAPES = ["circle", "square", "triangle", "diamond"], GLYPHS = ["●", "■", "▲", "◆"];
const COPIED = ["fill", "stroke", "stroke-width", "stroke-linejoin", "paint-order", "stroke-opacity", "opacity", "font-size", "font-weight", "stroke-dasharray"];
const LETTER = 7, KEY_LINE = 18; // pixels, of a text of 12

/** Four significant digits at most, as in the tables. */
function number(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const digits = String(Math.trunc(Math.abs(value))).length;
  return Math.abs(value) >= 1000 || !value ? value.toFixed(0) : Math.abs(value) < 0.1 ? value.toPrecision(3) : value.toFixed(Math.max(0, 3 - digits));
}
const interval = (one) => `${number(one[0])} [${number(low(one))}, ${number(high(one))}]`;

/** An end of an interval, drawn no further than its axis: what is cut off there still has its length, and a browser measures it. */
const within = (value, [from, to]) => Math.min(Math.max(value, from), to);

/** Figures of single loads become figures of the cell, under their axis's name: the rules read all by name. */
function spreadLoads(data) {
  const scaled = (one, axis) => one && (axis.field === "rate" || axis.field === "joules" ? one : one.map((end) => end === null ? null : 1000 * end));
  for (const axis of data.chart.x.filter((one) => "load" in one))
    for (const cell of data.cells) {
      const load = cell.loads.find((one) => one.load === axis.load), found = load?.[axis.field];
      cell[axis.name] = scaled("place" in axis ? found?.[axis.place] : found, axis) ?? null;
    }
}

/** Plot's drawing without its style sheet, whose rules the page's has: a sheet that comes or goes makes a browser style all of the page again. */
function drawing(options) {
  const svg = Plot.plot(options);
  svg.querySelector("style").remove();
  return svg;
}

class Chart {
  /** `shown` tells of a cell that is pointed at or focused, null when it is left; `open` of one that is chosen. */
  constructor(place, data, { shown, open }) {
    Object.assign(this, { place, data, shown, open, view: { ...data.chart.first, logX: false, logY: false, model: data.models.length > 1 ? data.models[0] : null } });
    this.planned = { ...this.view };
    this.engines = [...new Set(data.cells.map((cell) => cell.engine))].sort();
    place.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(() => this.width !== place.clientWidth && this.result && this.draw()).observe(place);
  }

  get x() { return this.data.chart.x.find((axis) => axis.name === this.view.x); }
  get y() { return this.data.chart.y.find((axis) => axis.name === this.view.y); }

  update(result, setting) {
    Object.assign(this, { result, setting });
    clearTimeout(this.waiting);
    if (this.key === this.keyOf(this.points())) return; // a setting that changes nothing of it costs no drawing
    if (this.svg && this.data.cells.length > MOST_FAINT) this.waiting = setTimeout(() => this.draw(), AFTER_MILLISECONDS); // a slider that moves shows its answer first
    else this.draw();
  }

  change(what) {
    Object.assign(this.view, what);
    if (this.result) this.draw();
  }

  /** What stands on the axes, and where on the frontier: on it, its probability, or barred from it. */
  points() {
    const { data, result, setting, view, x, y } = this;
    if (!x || !y) return [];
    const odds = this.odds(), recommended = new Set(result.answers.map((answer) => answer.chosen?.number));
    const on = new Set(frontier(data, { model: view.model, x, y }, result.allowed, setting)), allowed = new Set(result.allowed);
    return data.cells.flatMap((cell, i) => {
      if (!result.judged[i] || (view.model && cell.model !== view.model)) return [];
      const [a, b] = [onAxis(cell, x.name, setting), onAxis(cell, y.name, setting)];
      if (!a || !b || ![a[0], b[0]].every(Number.isFinite) || (view.logX && a[0] <= 0) || (view.logY && b[0] <= 0)) return [];
      return [{ i, cell, x: a, y: b, on: on.has(i), bad: !allowed.has(i), recommended: recommended.has(i), odds: odds?.get(i) ?? null }];
    });
  }

  /** All that a drawing is made of, but for the view. */
  keyOf(points) { return JSON.stringify([this.setting.mix, points.map(({ cell, ...point }) => [point, this.result.judged[point.i][0]])]); }

  /** Probabilities were drawn among the plan's cells, under its loads and price: they hold while all of them are there. */
  odds() {
    const { data, result, setting, view } = this, allowed = new Set(result.allowed);
    const drawn = data.chart.odds.find((one) => one.x === view.x && one.y === view.y && (one.model === view.model || data.models.length < 2));
    const holds = drawn && drawn.cells.every((i) => allowed.has(i)) && !mixOf(setting).length && setting.price !== 0;
    return holds ? new Map(drawn.cells.map((i, k) => [i, drawn.odds[k]])) : null;
  }

  draw() {
    const { place, view, x, y } = this, focused = this.nodes?.get(this.focusedCell());
    this.width = place.clientWidth;
    const points = this.list = this.points(), width = Math.max(this.width, 280), height = Math.round(Math.min(Math.max(0.68 * width, 360), 430));
    const refocus = focused && document.activeElement === focused.dot ? focused.i : null;
    place.replaceChildren();
    this.nodes = new Map();
    this.key = this.keyOf(points);
    if (!points.length) {
      element(place, "p", "No cell has a figure on both axes under this setting.", "dim");
      return;
    }
    const good = points.filter((one) => !one.bad).sort((a, b) => a.recommended - b.recommended), bad = points.filter((one) => one.bad);
    const drawn = good.length ? good : bad; // what is barred must not squeeze what may win: beyond the axes it stands at their edge
    const domains = [this.domain(drawn.map((one) => one.x), view.logX), this.domain(drawn.map((one) => one.y), view.logY)];
    const barred = points.filter((one) => one.on || points.length <= MOST_FAINT), best = points.filter((one) => one.on).sort((a, b) => a.x[0] - b.x[0] || a.y[0] - b.y[0]);
    const colour = (one) => this.colour(one.cell.engine);
    const at = { x: (one) => within(one.x[0], domains[0]), y: (one) => within(one.y[0], domains[1]) };
    const outside = bad.filter((one) => at.x(one) !== one.x[0] || at.y(one) !== one.y[0]);
    const svg = drawing({
      width, height, marginLeft: 74, marginBottom: 44, marginTop: 12, marginRight: 14, ariaLabel: `${y.label} against ${x.label}`,
      x: this.scale(x, view.logX, domains[0]), y: this.scale(y, view.logY, domains[1]), color: { type: "identity" }, symbol: { type: "identity" },
      marks: [
        Plot.link(barred, { x1: (one) => within(low(one.x), domains[0]), x2: (one) => within(high(one.x), domains[0]), y1: at.y, y2: at.y, stroke: colour, className: "bars" }),
        Plot.link(barred, { x1: at.x, x2: at.x, y1: (one) => within(low(one.y), domains[1]), y2: (one) => within(high(one.y), domains[1]), stroke: colour, className: "bars" }),
        Plot.line(best, { ...at, stroke: "currentColor", strokeDasharray: "5 4", strokeOpacity: 0.6, className: "joined" }),
        Plot.dot(bad, { ...at, symbol: "times", stroke: colour, r: 4.5, className: "dots" }),
        Plot.dot(good, { ...at, symbol: (one) => SHAPES[this.shape(one.cell.engine)], fill: colour, stroke: (one) => (one.recommended ? "currentColor" : "none"), strokeWidth: 2, r: 5.5, className: "dots" }),
      ],
    });
    place.append(svg);
    this.svg = svg;
    this.order = [...points].sort((a, b) => a.x[0] - b.x[0]);
    svg.setAttribute("role", "group");
    for (const group of svg.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
    for (const group of svg.querySelectorAll("g.bars")) [...group.children].forEach((bar) => this.node(barred[bar.__data__]).bars.push(bar));
    const [crosses, dots] = bad.length && good.length ? svg.querySelectorAll("g.dots") : bad.length ? [svg.querySelector("g.dots"), null] : [null, svg.querySelector("g.dots")];
    for (const [group, list] of [[crosses, bad], [dots, good]]) if (group) for (const dot of group.children) this.mark(dot, list[dot.__data__]);
    this.nodes.get(this.order[0].i).dot.setAttribute("tabindex", 0);
    this.names([...points.filter((one) => one.recommended && !one.on), ...best, ...outside], domains, new Set(outside));
    if (refocus !== null) this.nodes.get(refocus)?.dot.focus();
  }

  colour(engine) { return COLOURS[this.engines.indexOf(engine) % COLOURS.length]; }
  shape(engine) { return Math.floor(this.engines.indexOf(engine) / COLOURS.length) % SHAPES.length; }

  node(one) {
    if (!this.nodes.has(one.i)) this.nodes.set(one.i, { i: one.i, dot: null, bars: [] });
    return this.nodes.get(one.i);
  }

  focusedCell() { return this.list?.find((one) => this.nodes?.get(one.i)?.dot === document.activeElement)?.i; }

  scale(axis, log, domain) {
    const mix = mixOf(this.setting), at = mix.length ? mixLabel(mix.map(([load]) => this.data.loads[load].label)) : axis.at;
    const label = axis.label + (axis.at ? ` at ${at}` : "") + " (better →)";
    // turned so that the best corner is always the upper right one
    return { reverse: axis.less, type: log ? "log" : "linear", domain, label, labelAnchor: "center", labelArrow: "none", labelOffset: axis === this.y ? 64 : 38, grid: true, ticks: log ? undefined : 6, tickFormat: log ? "~g" : undefined };
  }

  /** Room around all values and their intervals, as far as these are no wider than all values lie apart. */
  domain(found, log) {
    const turn = log ? Math.log : (value) => value, back = log ? Math.exp : (value) => value;
    const values = found.map((one) => turn(one[0])), ends = found.flatMap((one) => [low(one), high(one)]).filter((end) => Number.isFinite(end) && (!log || end > 0)).map(turn);
    const [least, most] = [Math.min(...values), Math.max(...values)], spread = most - least || Math.abs(values[0]) * 0.1 || 1;
    const from = Math.max(Math.min(...values, ...ends), least - spread / 2), to = Math.min(Math.max(...values, ...ends), most + spread / 2), room = 0.06 * (to - from || spread);
    return [back(from - room), back(to + room)];
  }

  mark(dot, one) {
    const node = this.node(one), { x, y } = this, result = this.result.judged[one.i];
    const faded = !one.on && !one.bad && (one.odds === null || one.odds < this.data.rules.thresholds.dominated_below);
    node.dot = dot;
    dot.setAttribute("class", ["cell", ...Object.entries({ on: one.on, bad: one.bad, recommended: one.recommended, faded }).flatMap(([name, is]) => (is ? [name] : []))].join(" "));
    dot.style.opacity = one.on || one.recommended ? 1 : one.bad ? 0.75 : 0.5 + 0.5 * (one.odds ?? 0);
    for (const bar of node.bars) bar.setAttribute("class", one.on ? "on" : "faint");
    const standing = (one.recommended ? "recommended, " : "") + (one.bad ? result[0] : `${one.on ? "on" : "off"} the frontier${one.odds === null ? "" : `, probability of being Pareto-optimal ${one.odds.toFixed(2)}`}`);
    for (const [name, value] of Object.entries({ role: "button", tabindex: -1, "aria-label": `${one.cell.name}: ${x.label} ${interval(one.x)}, ${y.label} ${interval(one.y)}, ${standing}` })) dot.setAttribute(name, value);
    const show = (is) => { for (const bar of node.bars) bar.classList.toggle("hovered", is); this.shown(is ? one : null, dot); };
    for (const event of ["pointerenter", "focus"]) dot.addEventListener(event, () => show(true));
    for (const event of ["pointerleave", "blur"]) dot.addEventListener(event, () => show(false));
    dot.addEventListener("click", () => this.open(one.i));
  }

  /** From cell to cell with the arrow keys, by x; Enter opens its evidence. */
  step(event) {
    const here = this.focusedCell(), by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (here === undefined || !(by || event.key === "Enter" || event.key === " ")) return;
    event.preventDefault();
    if (!by) return this.open(here);
    const place = this.order.findIndex((one) => one.i === here);
    this.nodes.get(this.order[(place + by + this.order.length) % this.order.length].i).dot.focus();
  }

  /** Names of the recommended cell, of the frontier's and of those outside the axes, where they hide neither each other nor these cells' marks. */
  names(named, domains, outside) {
    const group = this.svg.appendChild(document.createElementNS(SVG, "g")), taken = [], [sx, sy] = ["x", "y"].map((name) => this.svg.scale(name).apply);
    group.setAttribute("class", "names");
    group.setAttribute("aria-hidden", "true");
    group.setAttribute("text-anchor", "start");
    const marks = named.map((one) => [sx(within(one.x[0], domains[0])), sy(within(one.y[0], domains[1]))]), [left, right, top, bottom] = [...domains[0].map(sx).sort((a, b) => a - b), ...domains[1].map(sy).sort((a, b) => a - b)];
    const inside = ([from, over, , under], width) => { const start = Math.min(Math.max(from, left), right - width); return [start, over, start + width, under]; };
    const free = (box, own) => box[0] >= left && box[2] <= right && box[1] >= top && box[3] <= bottom
      && !taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])
      && !marks.some(([a, b], k) => k !== own && box[0] < a + 5 && box[2] > a - 5 && box[1] < b + 5 && box[3] > b - 5);
    named.slice(0, MOST_NAMES).forEach((one, k) => {
      const text = group.appendChild(document.createElementNS(SVG, "text")), name = `${one.cell.method} · ${one.cell.engine}`;
      text.textContent = (name.length > 36 ? `${name.slice(0, 35)}…` : name) + (outside.has(one) ? ": outside the axes" : "");
      const width = text.getComputedTextLength() + 2, [a, b] = marks[k];
      const tries = [0, 13, 26, 39, 52].flatMap((away) => [b - 7 - away, b + 8 + away].flatMap((middle) => [[a + 8, middle], [a - 8 - width, middle], [a - width / 2, middle + Math.sign(middle - b) * 7]]));
      const boxes = tries.map(([from, middle]) => [from, middle - 8, from + width, middle + 8]);
      const spot = boxes.find((box) => free(box, k)) ?? boxes.map((box) => inside(box, width)).find((box) => free(box, k));
      if (!spot) return text.remove();
      taken.push(spot);
      text.setAttribute("x", spot[0]);
      text.setAttribute("y", spot[3] - 4);
    });
  }

  /** The drawing with its colours as they are on the page now and its key, for a file that needs no page. */
  exported() {
    const copy = this.svg.cloneNode(true), ours = this.svg.querySelectorAll("*"), theirs = copy.querySelectorAll("*");
    ours.forEach((one, i) => {
      const style = getComputedStyle(one);
      for (const name of COPIED) theirs[i].style.setProperty(name, style.getPropertyValue(name));
    });
    copy.setAttribute("xmlns", SVG);
    copy.style.background = getComputedStyle(document.body).backgroundColor;
    copy.style.fontFamily = "system-ui, sans-serif";
    this.addKey(copy);
    return copy;
  }

  /** Below the drawing, as it is below it on the page: each engine's colour, and what the marks mean. */
  addKey(copy) {
    const width = Number(copy.getAttribute("width")), ink = getComputedStyle(document.body).color, shown = new Set(this.list.map((one) => one.cell.engine));
    let [x, y] = [10, Number(copy.getAttribute("height")) + 12];
    const entry = (glyph, colour, text) => {
      const long = LETTER * (text.length + 4);
      if (x > 10 && x + long > width) [x, y] = [10, y + KEY_LINE];
      const place = copy.appendChild(document.createElementNS(SVG, "text")), mark = place.appendChild(document.createElementNS(SVG, "tspan"));
      for (const [name, value] of Object.entries({ x, y, "font-size": 12, "text-anchor": "start", fill: ink })) place.setAttribute(name, value);
      mark.setAttribute("fill", colour);
      mark.textContent = glyph;
      place.append(` ${text}`);
      x += long;
    };
    for (const engine of this.engines) if (shown.has(engine)) entry(GLYPHS[this.shape(engine)], this.colour(engine), engine);
    for (const [glyph, text] of [["○", "ring: recommended"], ["×", "fails a limit or is not trusted"], ["┄", "frontier by measured values"]]) entry(glyph, ink, text);
    copy.setAttribute("height", y + KEY_LINE);
    copy.setAttribute("viewBox", `0 0 ${width} ${y + KEY_LINE}`);
  }

  toSvg() { return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(this.exported())}`; }

  async toPng(scale = 2) {
    const image = new Image(), canvas = document.createElement("canvas"), [width, height] = ["width", "height"].map((name) => Number(this.exported().getAttribute(name)));
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(this.toSvg())}`;
    await image.decode();
    Object.assign(canvas, { width: width * scale, height: height * scale });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/png");
  }
}
