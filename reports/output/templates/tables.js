// Tables that readers sort, filter and copy: the rows are those that the page was written with, and stay so without scripts.

const TABLES = new Map(); // by the name in `data-tools`
const FORMULA = /^[=+@\t\r\uff1d\uff0b\uff0d\uff20-]/; // what a spreadsheet takes for one, as in results.csv
const INTERVAL = /^([-+−∞\d.e]+) \[([-+−∞\d.e]+), ([-+−∞\d.e]+)\]$/; // as numbers are shown

/** The text of a cell of a table, its lines in one, without what asks for a definition. */
const textOf = (cell) => [...cell.childNodes].map((node) => (node.nodeName === "BR" ? " " : node.className === "what" ? "" : node.nodeName === "BUTTON" ? textOf(node) : node.textContent)).join("").replace(/\s+/g, " ").trim();

/** What rows are ordered by: numbers by their first one, and a dash, which is no number, after all of them. */
function sortKey(text, isNumber) {
  if (!isNumber) return text;
  const value = parseFloat(text.replace("−", "-").replace("∞", "Infinity").replaceAll(",", ""));
  return Number.isNaN(value) ? null : value;
}

class Table {
  /** `changed` is told of what the reader did. */
  constructor(table, changed) {
    Object.assign(this, { table, changed, sort: null, words: "", hidden: new Set(), barred: new Set() });
    this.head = [...table.tHead.rows[0].cells];
    this.names = this.head.map(textOf);
    this.rows = [...table.tBodies[0].rows];
    this.texts = this.rows.map((row) => row.textContent.toLowerCase());
    this.style = document.head.appendChild(document.createElement("style"));
    table.id = `table-${table.dataset.tools}`;
    this.head.forEach((cell, i) => this.sortButton(cell, i));
    this.toolbar();
  }

  sortButton(cell, i) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...[...cell.childNodes].filter((node) => node.className !== "what"));
    cell.prepend(button);
    button.addEventListener("click", () => {
      const { sort } = this, bestDown = cell.dataset.better === "higher"; // the best first, then the worst, then the plan's order
      this.order(sort?.column !== i ? { column: i, down: bestDown } : sort.down === bestDown ? { column: i, down: !bestDown } : null);
      this.changed();
    });
  }

  /** By a column, or as the plan has it. */
  order(sort) {
    this.sort = sort;
    this.head.forEach((cell, i) => (i === sort?.column ? cell.setAttribute("aria-sort", sort.down ? "descending" : "ascending") : cell.removeAttribute("aria-sort")));
    this.table.tBodies[0].append(...(sort ? this.ordered(sort) : this.rows));
  }

  ordered({ column, down }) {
    const isNumber = this.head[column].classList.contains("n"), sign = down ? -1 : 1;
    const keyed = this.rows.map((row) => [row, row.cells[column] && row.cells[column].colSpan === 1 ? sortKey(textOf(row.cells[column]), isNumber) : null]);
    const compare = isNumber ? (a, b) => a - b : new Intl.Collator("en", { numeric: true }).compare;
    return keyed.sort(([, a], [, b]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b))).map(([row]) => row);
  }

  toolbar() {
    const place = document.createElement("div"), name = this.table.dataset.tools;
    place.className = "tools";
    this.table.parentElement.before(place);
    const label = element(place, "label", "Filter ");
    this.field = label.appendChild(document.createElement("input"));
    this.field.type = "search";
    this.field.addEventListener("input", () => { this.filter(this.field.value); this.changed(); });
    for (const [kind, title] of [["markdown", "Copy as Markdown"], ["csv", "Copy as CSV"]]) {
      const button = element(place, "button", title);
      button.type = "button";
      button.addEventListener("click", () => this.copy(kind));
    }
    this.status = element(place, "span", "", "dim");
    this.status.setAttribute("role", "status");
    const columns = element(place, "details");
    element(columns, "summary", "Columns");
    this.boxes = this.names.map((title, i) => {
      if (!i) return null; // a row without its cell says nothing
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = true;
      box.name = `${name}-${i}`;
      element(columns, "label").append(box, ` ${title}`);
      box.addEventListener("change", () => { this.columns(box.checked ? [...this.hidden].filter((other) => other !== i) : [...this.hidden, i]); this.changed(); });
      return box;
    });
  }

  columns(hidden) {
    this.hidden = new Set(hidden);
    this.boxes.forEach((box, i) => box && (box.checked = !this.hidden.has(i)));
    const cells = [...this.hidden].map((i) => `#${this.table.id} tr > :nth-child(${i + 1}):not([colspan])`);
    this.style.textContent = cells.length ? `${cells.join(", ")} { display: none; }` : "";
  }

  /** Rows that hold every word; `barred` are cells that the page's filters leave out. */
  filter(words, barred = this.barred) {
    Object.assign(this, { words, barred });
    if (document.activeElement !== this.field) this.field.value = words;
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0, off = 0;
    this.rows.forEach((row, i) => {
      const isBarred = row.dataset.cell !== undefined && barred.has(Number(row.dataset.cell));
      row.hidden = isBarred || !wanted.every((word) => this.texts[i].includes(word));
      shown += !row.hidden;
      off += isBarred;
    });
    const why = off ? `; the chart's legend or What if hides ${off}` : "";
    this.status.textContent = shown < this.rows.length ? `${shown} of ${this.rows.length} rows${why}` : "";
  }

  /** What is shown, as text by row and column. */
  shownTexts() {
    const places = this.names.map((_, i) => i).filter((i) => !this.hidden.has(i));
    const rows = [...this.table.tBodies[0].rows].filter((row) => !row.hidden);
    return [places.map((i) => this.names[i]), rows.map((row) => places.map((i) => (row.cells[i] ? textOf(row.cells[i]) : "")))];
  }

  async copy(kind) {
    const text = (kind === "csv" ? asCsv : asMarkdown)(...this.shownTexts());
    try {
      await navigator.clipboard.writeText(text);
      this.status.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(this.table);
      this.status.textContent = "not copied: the text is selected below, press Ctrl+C";
    }
  }
}

function asMarkdown(names, rows) {
  const line = (texts) => `| ${texts.map((text) => text.replace(/[\\`*_[\]<>|]/g, "\\$&")).join(" | ")} |`;
  return [line(names), `|${"---|".repeat(names.length)}`, ...rows.map(line), ""].join("\n");
}

/** Figures with an interval become three columns, so that a spreadsheet has numbers. */
function asCsv(names, rows) {
  const hasEnds = names.map((_, i) => rows.some((row) => INTERVAL.test(row[i])));
  const quoted = (text) => `"${text.replace(FORMULA, (sign) => (/^-[\d.]+$/.test(text) ? sign : `'${sign}`)).replaceAll('"', '""')}"`;
  const line = (texts) => texts.map(quoted).join(",");
  const parts = (text, i) => (hasEnds[i] ? INTERVAL.exec(text)?.slice(1) ?? [text, "", ""] : [text]);
  const heads = names.flatMap((name, i) => (hasEnds[i] ? [name, `${name} low`, `${name} high`] : [name]));
  return [line(heads), ...rows.map((row) => line(row.flatMap(parts))), ""].join("\n");
}

/** The head of a long table stays in sight below the index: its box scrolls sideways, so that `sticky` cannot. */
function followHeads() {
  const bar = document.querySelector("nav").getBoundingClientRect().height;
  for (const { table } of TABLES.values()) {
    const box = table.getBoundingClientRect(), last = box.height - table.tHead.offsetHeight - 60;
    const by = Math.round(Math.min(bar - box.top, last));
    table.tHead.style.transform = by > 0 && last > 0 ? `translateY(${by}px)` : "";
  }
}

let barredBefore = "";

/** Rows of these cells are left out; a slider that bars none costs nothing. */
function filterTables(barred) {
  if (String(barred) === barredBefore) return;
  barredBefore = String(barred);
  for (const table of TABLES.values()) table.filter(table.words, new Set(barred));
}

function startTables(changed) {
  for (const table of document.querySelectorAll("[data-tools]")) TABLES.set(table.dataset.tools, new Table(table, changed));
  addEventListener("scroll", followHeads, { passive: true });
  addEventListener("resize", followHeads);
}
