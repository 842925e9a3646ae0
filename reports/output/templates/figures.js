// Frontiers as SVG: drawn once, then moved and marked as a setting says.

const SVG = "http://www.w3.org/2000/svg", WIDTH = 640, HEIGHT = 400, EDGE = { left: 64, right: 16, top: 12, bottom: 48 };
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]; // Okabe and Ito
const SHAPES = [
  "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z", "M-4 -4H4V4H-4Z", "M0 -5L5 4H-5Z", "M0 -5.5L5.5 0L0 5.5L-5.5 0Z",
];
const CROSS = "M-4 -4L4 4M-4 4L4 -4", MOST_NAMES = 14;

function make(parent, name, attributes = {}, text = null) {
  const one = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  if (text !== null) one.textContent = text;
  return parent.appendChild(one);
}

/** Four significant digits at most, as in the tables. */
function number(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const digits = String(Math.trunc(Math.abs(value))).length;
  return Math.abs(value) >= 1000 || !value ? value.toFixed(0) : Math.abs(value) < 0.1 ? value.toPrecision(3) : value.toFixed(Math.max(0, 3 - digits));
}
const interval = (one) => `${number(one[0])} [${number(low(one))}, ${number(high(one))}]`;

/** Round steps between two ends: [first, step, how many]. */
function ticks(from, to, about = 6) {
  const raw = (to - from) / about || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= raw);
  const first = Math.ceil(from / step), last = Math.floor(to / step);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

const finite = (values) => values.filter(Number.isFinite);

/** One frontier. `shown` tells of a cell that is pointed at or focused, null when it is left. */
class Figure {
  constructor(place, data, plot, shown) {
    Object.assign(this, { data, plot, shown });
    this.svg = make(place, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": plot.title });
    this.frame = make(this.svg, "g", { class: "axes" });
    this.line = make(this.svg, "path", { class: "line" });
    const engines = [...new Set(data.cells.map((cell) => cell.engine))].sort();
    this.cells = data.cells.map((cell, i) => this.cell(cell, i, engines.indexOf(cell.engine)));
    this.names = make(this.svg, "g", { class: "names", "aria-hidden": "true" });
    this.svg.addEventListener("keydown", (event) => this.step(event));
    this.legend(engines);
  }

  cell(cell, number, engine) {
    const group = make(this.svg, "g", { class: "cell", role: "img", tabindex: -1 });
    const colour = COLOURS[engine % COLOURS.length], shape = SHAPES[Math.floor(engine / COLOURS.length) % SHAPES.length];
    const bars = make(group, "path", { class: "bars", stroke: colour });
    make(group, "path", { d: shape, class: "mark", fill: colour });
    make(group, "path", { d: CROSS, class: "cross", stroke: colour });
    for (const event of ["pointerenter", "focus"]) group.addEventListener(event, () => this.shown(number, this.plot, group));
    for (const event of ["pointerleave", "blur"]) group.addEventListener(event, () => this.shown(null));
    return { group, bars, marked: null };
  }

  legend(engines) {
    const list = document.createElement("p");
    list.className = "legend dim";
    engines.forEach((engine, i) => {
      const key = make(list, "svg", { viewBox: "-7 -7 14 14", "aria-hidden": "true" });
      make(key, "path", { d: SHAPES[Math.floor(i / COLOURS.length) % SHAPES.length], fill: COLOURS[i % COLOURS.length] });
      list.append(` ${engine}  `);
    });
    this.svg.after(list);
  }

  /** From cell to cell with the arrow keys, by x. */
  step(event) {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!by || !this.order.length) return;
    event.preventDefault();
    const place = this.order.findIndex((i) => this.cells[i].group === document.activeElement);
    this.cells[this.order[(place + by + this.order.length) % this.order.length]].group.focus();
  }

  /** Places change with what is drawn (mix, price, filters), marks with every verdict: of a thousand cells few do. */
  update(result, setting) {
    const drawn = JSON.stringify([setting.mix, setting.price, setting.without]);
    if (drawn !== this.drawn) this.move(result, setting);
    this.drawn = drawn;
    if (!this.order.length) return;
    const { points } = this, found = result.frontiers[this.plot.name];
    const on = new Set(found.on), dominated = new Set(found.dominated), allowed = new Set(result.allowed);
    for (const i of this.order) this.mark(i, { on: on.has(i), faded: dominated.has(i), bad: !allowed.has(i) }, result);
    const best = found.on.map((i) => points[i]).filter((one) => one).sort((a, b) => a.x[0] - b.x[0] || a.y[0] - b.y[0]);
    this.line.setAttribute("d", best.map((one, i) => `${i ? "L" : "M"}${this.x(one.x[0])} ${this.y(one.y[0])}`).join(""));
    this.label(found.on.filter((i) => points[i]), points);
  }

  move(result, setting) {
    const { data, plot } = this;
    const points = this.points = data.cells.map((cell, i) => {
      const x = (!plot.model || cell.model === plot.model) && result.judged[i] && onAxis(cell, plot.x.name, setting), y = x && onAxis(cell, plot.y.name, setting);
      return y && Number.isFinite(x[0]) && Number.isFinite(y[0]) ? { x, y } : null;
    });
    const seen = points.filter((one) => one);
    this.order = points.map((_, i) => i).filter((i) => points[i]).sort((a, b) => points[a].x[0] - points[b].x[0]);
    this.svg.parentElement.hidden = !seen.length;
    if (!seen.length) return;
    this.x = this.scale(seen.map((one) => one.x), EDGE.left, WIDTH - EDGE.right);
    this.y = this.scale(seen.map((one) => one.y), HEIGHT - EDGE.bottom, EDGE.top);
    this.axes(result, setting);
    points.forEach((one, i) => this.place(i, one));
    this.cells[this.order[0]].group.setAttribute("tabindex", 0);
  }

  place(i, one) {
    const { group, bars } = this.cells[i];
    this.cells[i].marked = null;
    group.style.display = one ? "" : "none";
    if (!one) return;
    group.setAttribute("tabindex", -1);
    group.setAttribute("transform", `translate(${this.x(one.x[0])} ${this.y(one.y[0])})`);
    const bar = (found, scale, flat) => {
      if (!Number.isFinite(low(found)) || !Number.isFinite(high(found)) || low(found) === high(found)) return "";
      const [a, b] = [low(found), high(found)].map((end) => scale(end) - scale(found[0]));
      return flat ? `M${a} -2.5V2.5M${a} 0H${b}M${b} -2.5V2.5` : `M-2.5 ${a}H2.5M0 ${a}V${b}M-2.5 ${b}H2.5`;
    };
    bars.setAttribute("d", bar(one.x, this.x, true) + bar(one.y, this.y, false));
  }

  mark(i, is, result) {
    const cell = this.cells[i], said = ["cell", ...Object.keys(is).filter((name) => is[name])].join(" "), one = this.points[i];
    if (cell.marked === said + result.judged[i][0]) return;
    cell.marked = said + result.judged[i][0];
    cell.group.setAttribute("class", said);
    const standing = is.bad ? result.judged[i][0] : is.on ? "on the frontier" : is.faded ? "dominated" : "off the frontier";
    cell.group.setAttribute("aria-label", `${this.data.cells[i].name}: ${this.plot.x.label} ${interval(one.x)}, ${this.plot.y.label} ${interval(one.y)}, ${standing}`);
  }

  /** From figures to places, with room around all of them and their intervals. */
  scale(found, from, to) {
    const ends = finite(found.flatMap((one) => [one[0], low(one), high(one)])), values = found.map((one) => one[0]);
    const spread = Math.max(...values) - Math.min(...values) || Math.abs(values[0]) || 1;
    const least = Math.max(Math.min(...ends), Math.min(...values) - spread), most = Math.min(Math.max(...ends), Math.max(...values) + spread);
    const room = 0.06 * (most - least || Math.abs(most) || 1), start = least - room, end = most + room;
    const scale = (value) => +Math.min(Math.max(from + ((value - start) / (end - start)) * (to - from), -9e3), 9e3).toFixed(2);
    return Object.assign(scale, { start, end });
  }

  axes(result, setting) {
    const { frame, plot } = this, mix = mixOf(setting), bottom = HEIGHT - EDGE.bottom;
    const mixed = mix.length === 1 ? this.data.loads[mix[0][0]].label : `the mix of ${mix.length} loads`;
    const title = (axis) => axis.label + (axis.at ? ` at ${mix.length ? mixed : axis.at}` : "") + (axis.less ? " (less is better)" : "");
    frame.replaceChildren();
    for (const value of ticks(this.x.start, this.x.end)) {
      make(frame, "path", { d: `M${this.x(value)} ${EDGE.top}V${bottom}` });
      make(frame, "text", { x: this.x(value), y: bottom + 16, "text-anchor": "middle" }, +value.toPrecision(6));
    }
    for (const value of ticks(this.y.start, this.y.end)) {
      make(frame, "path", { d: `M${EDGE.left} ${this.y(value)}H${WIDTH - EDGE.right}` });
      make(frame, "text", { x: EDGE.left - 6, y: this.y(value) + 4, "text-anchor": "end" }, +value.toPrecision(6));
    }
    make(frame, "text", { x: (EDGE.left + WIDTH - EDGE.right) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, title(plot.x));
    const middle = (EDGE.top + bottom) / 2;
    make(frame, "text", { x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, title(plot.y));
  }

  /** Names of the first on the frontier, below each other where they would lie on each other. */
  label(on, points) {
    this.names.replaceChildren();
    const placed = [];
    for (const i of on.slice(0, MOST_NAMES)) {
      const x = this.x(points[i].x[0]), ends = x > WIDTH - 180, text = this.data.cells[i].method;
      const short = text.length > 36 ? `${text.slice(0, 35)}…` : text, width = 6 * short.length, left = ends ? x - 7 - width : x + 7;
      let y = this.y(points[i].y[0]) - 6;
      if (placed.some((one) => one.short === short && one.left === left && one.first === y)) continue; // in several engines
      const first = y;
      while (placed.some((one) => Math.abs(one.y - y) < 11 && left < one.left + one.width && one.left < left + width)) y += 12;
      placed.push({ short, left, width, y, first });
      make(this.names, "text", { x: x + (ends ? -7 : 7), y, "text-anchor": ends ? "end" : "start" }, short);
    }
  }
}
