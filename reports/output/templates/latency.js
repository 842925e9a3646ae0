// Latency by load: a table of cells and loads at the percentile that is chosen, and each cell's latency–throughput curve.

const MOST_CURVES = 60, NO_FIGURE = "–", UNSEEN_MILLISECONDS = 1000, NAME_HEIGHT = 13, MOST_LETTERS = 60;

class Latency {
  /** `changed` is told of what the reader did. */
  constructor(data, changed) {
    Object.assign(this, { data, view: { figure: "ttft", place: data.percentiles.indexOf(data.planned.percentile), family: this.largest(data), log: false } });
    this.planned = { ...this.view };
    this.engines = [...new Set(data.cells.map((cell) => cell.engine))].sort();
    this.known = new Map(); // of each cell the points of its curve, which no setting changes
    this.place = document.getElementById("curves");
    this.table = document.querySelector('[data-tools="latency"]');
    this.links = data.cells.map((cell, i) => this.row(cell, i));
    const fields = this.fields = Object.fromEntries(["figure", "percentile", "family", "log"].map((name) => [name, document.getElementById(`latency-${name}`)]));
    for (const field of Object.values(fields)) field?.addEventListener("change", () => {
      this.change({ figure: fields.figure.value, place: Number(fields.percentile.value), family: Number(fields.family?.value ?? 0), log: fields.log.checked });
      changed();
    });
    this.place.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(() => this.width !== this.place.clientWidth && this.result && this.later()).observe(this.place);
    new IntersectionObserver(([{ isIntersecting }]) => { this.isSeen = isIntersecting; if (isIntersecting) this.catchUp(); }, { rootMargin: "50%" }).observe(this.place);
    addEventListener("beforeprint", () => this.catchUp());
  }

  /** The loads that make the longest curve. */
  largest({ families, loads }) {
    const counts = families.map((_, family) => loads.filter((load) => load.family === family).length);
    return counts.indexOf(Math.max(...counts));
  }

  /** A line of the table; its links by load. */
  row(cell, i) {
    const row = this.table.tBodies[0].insertRow(), links = {};
    row.dataset.cell = i;
    const head = element(row, "th");
    head.scope = "row";
    element(head, "a", cell.name).href = `#cell-${i}`;
    this.data.loads.forEach((_, load) => {
      const place = element(row, "td", "", "n");
      if (!cell.loads.some((at) => at.load === load)) place.textContent = NO_FIGURE;
      else (links[load] = element(place, "a")).href = `#cell-${i}`;
    });
    return links;
  }

  change(view) {
    Object.assign(this.view, view);
    this.known.clear();
    const { figure, place, family, log } = this.view, { fields } = this;
    Object.assign(fields.figure, { value: figure });
    fields.percentile.value = place;
    if (fields.family) fields.family.value = family;
    fields.log.checked = log;
    explainBeside("latency", figure);
    this.fill();
    if (this.result) this.draw();
  }

  waits(cell, load) { return cell.loads.find((at) => at.load === load)?.[this.view.figure]?.[this.view.place]?.map((end) => end === null ? null : 1000 * end) ?? null; }

  fill() {
    this.data.cells.forEach((cell, i) => {
      for (const [load, link] of Object.entries(this.links[i])) {
        const wait = this.waits(cell, Number(load));
        link.textContent = !wait || !Number.isFinite(wait[0]) ? NO_FIGURE : wait[2] === null ? `${number(wait[0])}*` : interval(wait);
      }
    });
    const table = TABLES.get("latency");
    if (table?.sort) table.order(table.sort);
  }

  /** Curves are drawn after a slider's answer; while nobody sees them, once it rests. */
  update(result) {
    this.result = result;
    if (this.key === undefined) this.draw();
    else this.later();
  }

  later() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.catchUp(), this.isSeen ? AFTER_MILLISECONDS : UNSEEN_MILLISECONDS);
  }

  /** Draw what waits to be drawn, if anything of it changed. */
  catchUp() {
    clearTimeout(this.waiting);
    if (this.result && (this.width !== this.place.clientWidth || this.key !== this.keyOf(this.curves()))) this.draw();
  }

  keyOf({ curves, all }) { return String([all, ...curves.map(({ i }) => i).sort((a, b) => a - b)]); }

  /** Of the ranked cells first, so many: curves of more would be a carpet. */
  curves() {
    const { data, result, view } = this, ranked = result.answers.flatMap((answer) => answer.ranked.map((candidate) => candidate.number));
    const order = [...new Set([...ranked, ...data.cells.keys()])].filter((i) => result.judged[i]);
    const curves = order.map((i) => ({ i, points: this.pointsOf(i) })).filter(({ points }) => points.length > 1);
    return { curves: curves.slice(0, MOST_CURVES), all: curves.length, loads: data.loads.filter((load) => load.family === view.family).length };
  }

  pointsOf(i) {
    if (!this.known.has(i)) this.known.set(i, this.pointsFrom(this.data.cells[i], i));
    return this.known.get(i);
  }

  pointsFrom(cell, i) {
    const points = cell.loads.filter((at) => this.data.loads[at.load].family === this.view.family).map((at) => ({ i, cell, load: at.load, x: at.rate, y: this.waits(cell, at.load) }));
    return points.filter(({ x, y }) => x && y && Number.isFinite(x[0]) && Number.isFinite(y[0]) && (!this.view.log || y[0] > 0)).sort((a, b) => this.data.loads[a.load].amount - this.data.loads[b.load].amount);
  }

  draw() {
    const { place, view, data } = this, { curves, all, loads } = this.curves(), title = `${view.figure.toUpperCase()} p${data.percentiles[view.place]}, ms`;
    place.hidden = loads < 2; // one load makes no curve
    this.fields.log.parentElement.hidden = !curves.length;
    this.width = place.clientWidth;
    place.replaceChildren();
    this.svg = null;
    this.key = this.keyOf({ curves, all });
    if (!curves.length) {
      if (loads > 1) element(place, "p", "No cell has this figure at two loads under this setting.", "dim");
      return;
    }
    const points = this.points = curves.flatMap((curve) => curve.points), width = Math.max(Math.min(this.width, 900), 280);
    const [most, ...values] = [Math.max(...points.map(({ x }) => x[0])), ...points.map(({ y }) => y[0])], highest = Math.max(...values), lowest = Math.min(...values);
    const across = [0, 1.06 * most], up = view.log ? [lowest / 1.2, highest * 1.2] : [0, 1.08 * highest];
    const colour = ({ cell }) => COLOURS[this.engines.indexOf(cell.engine) % COLOURS.length], at = { x: ({ x }) => x[0], y: ({ y }) => y[0] };
    const svg = this.svg = drawing({
      width, height: Math.round(Math.min(Math.max(0.5 * width, 280), 420)), marginLeft: 72, marginBottom: 44, marginTop: 14, marginRight: Math.round(Math.min(0.34 * width, 230)), ariaLabel: `${title} against output tokens/s`,
      x: { label: "output tokens/s", labelAnchor: "center", labelArrow: "none", labelOffset: 38, grid: true, ticks: 6, domain: across },
      y: { label: title, labelAnchor: "center", labelArrow: "none", labelOffset: 62, grid: true, type: view.log ? "log" : "linear", domain: up, ticks: view.log ? undefined : 6, tickFormat: view.log ? "~g" : undefined },
      color: { type: "identity" },
      marks: [
        Plot.link(points, { x1: ({ x }) => within(low(x), across), x2: ({ x }) => within(high(x), across), y1: at.y, y2: at.y, stroke: colour, className: "ends" }),
        Plot.link(points, { x1: at.x, x2: at.x, y1: ({ y }) => within(low(y), up), y2: ({ y }) => within(high(y), up), stroke: colour, className: "ends" }),
        Plot.line(points, { ...at, z: "i", stroke: colour, strokeWidth: 1.5, className: "lines" }),
        Plot.dot(points, { ...at, fill: colour, r: 4, className: "dots" }),
      ],
    });
    place.append(svg);
    element(place, "figcaption", `Each line is a cell, each point a load, from the lightest to the heaviest: ${data.families[view.family]}. Lower and further right is better. Colours show the engine, as in the frontier chart. ${all > curves.length ? `The first ${curves.length} of ${all} cells by rank are drawn. ` : ""}Point at a load for its interval; click it for its figure in the table.`);
    svg.setAttribute("role", "group");
    for (const group of svg.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
    this.ends = new Map(points.map((point) => [point, []]));
    for (const end of svg.querySelectorAll("g.ends > *")) this.ends.get(points[end.__data__])?.push(end);
    this.lines = [...svg.querySelectorAll("g.lines path")].map((line) => [points[line.__data__[0]].i, line]);
    this.dots = [...svg.querySelectorAll("g.dots > *")];
    this.name(curves.map((curve) => curve.points.at(-1)), colour);
    for (const dot of this.dots) this.mark(dot, points[dot.__data__], title);
    this.dots[0].setAttribute("tabindex", 0);
  }

  /** The curves' names in the right margin: each at the height of its curve's end or next to it, with a line to it. */
  name(ends, colour) {
    const { svg } = this, [sx, sy] = ["x", "y"].map((axis) => svg.scale(axis)), [bottom, top] = sy.range, edge = sx.range[1];
    const group = svg.appendChild(document.createElementNS(SVG, "g")), room = Number(svg.getAttribute("width")) - edge - 14;
    group.setAttribute("class", "names");
    group.setAttribute("aria-hidden", "true");
    const named = ends.slice(0, Math.floor((bottom - top) / NAME_HEIGHT)).map((point) => ({ point, y: sy.apply(point.y[0]) })).sort((a, b) => a.y - b.y);
    named.forEach((one, k) => { one.y = Math.max(one.y, k ? named[k - 1].y + NAME_HEIGHT : top); });
    for (let k = named.length - 1; k >= 0; k -= 1) named[k].y = Math.min(named[k].y, k + 1 < named.length ? named[k + 1].y - NAME_HEIGHT : bottom);
    for (const { point, y } of named) {
      const line = group.appendChild(document.createElementNS(SVG, "path")), text = group.appendChild(document.createElementNS(SVG, "text"));
      line.setAttribute("d", `M${sx.apply(point.x[0])} ${sy.apply(point.y[0])}L${edge + 8} ${y}`);
      line.setAttribute("stroke", colour(point));
      for (const [name, value] of Object.entries({ x: edge + 12, y: y + 4, "text-anchor": "start" })) text.setAttribute(name, value);
      for (let name = point.cell.name, letters = Math.min(name.length, MOST_LETTERS); letters > 3; letters -= 1) {
        text.textContent = letters === name.length ? name : `${name.slice(0, letters)}…`;
        if (text.getComputedTextLength() <= room) break;
      }
    }
  }

  mark(dot, point, title) {
    const { cell, load } = point, text = `${cell.name}, ${this.data.loads[load].label}: ${title} ${interval(point.y)}, output tokens/s ${interval(point.x)}`;
    dot.setAttribute("class", "point");
    for (const [name, value] of Object.entries({ role: "button", tabindex: -1, "aria-label": text })) dot.setAttribute(name, value);
    const show = (is) => {
      for (const end of this.ends.get(point)) end.classList.toggle("hovered", is);
      for (const [i, line] of this.lines) { line.classList.toggle("hovered", is && i === point.i); line.classList.toggle("faint", is && i !== point.i); }
      showTip(is ? [cell.name, this.data.loads[load].label, `${title}: ${interval(point.y)}`, `output tokens/s: ${interval(point.x)}`] : null, dot);
    };
    for (const event of ["pointerenter", "focus"]) dot.addEventListener(event, () => show(true));
    for (const event of ["pointerleave", "blur"]) dot.addEventListener(event, () => show(false));
    dot.addEventListener("click", () => this.lead(point));
  }

  /** To the figure in the table, from which the next click leads to its evidence. */
  lead({ i, load }) {
    for (const other of this.table.querySelectorAll(".hit")) other.classList.remove("hit");
    const link = this.links[i][load];
    link.parentElement.classList.add("hit");
    link.scrollIntoView({ block: "center", inline: "nearest" });
    link.focus({ preventScroll: true });
  }

  /** From point to point with the arrow keys; Enter leads to the table. */
  step(event) {
    const here = this.dots?.indexOf(document.activeElement) ?? -1, by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (here < 0 || !(by || event.key === "Enter" || event.key === " ")) return;
    event.preventDefault();
    if (by) this.dots[(here + by + this.dots.length) % this.dots.length].focus();
    else this.lead(this.points[this.dots[here].__data__]);
  }
}
