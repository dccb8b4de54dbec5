// The ranking and the rows that are not ranked: drawn from the data, sorted, filtered, downloaded.
"use strict";

const AXIS = { low: -0.25, high: 1, width: 140, margin: 7 };
const STEP = 60; // rows in the document until asked for more
const ROLES = { ceiling: 0, method: 1, floor: 2 };

const first = (estimate) => (estimate ? estimate[0] : null);
const costOf = (row) => row.cost.seconds ?? null;

// Heading, key of the address, value to sort by, whether the first click sorts upwards, class, title.
const ALL_COLUMNS = [
  ["Rank", "rank", (row) => (row.rank ? row.sliceOrder * 1e6 + row.rank[0] + row.rank[1] / 1e4 : null), true, "rank"],
  ["Method", "method", (row) => row.label, true, "text name"],
  ["Recovery", "recovery", (row) => first(row.recovery), false, "score"],
  ["", "", null, false, "plotted"],
  ["Domain", "domain", (row) => first(row.domain), false, "part"],
  ["Objective", "objective", (row) => first(row.objective), false, "part"],
  ["Content", "content", (row) => first(row.content), false, "part"],
  ["Judges", "judges", (row) => first(row.judges), false, "grade", "mean grade of a panel of judges, 1 to 5, and share of claims graded at least 4; no part of recovery"],
  ["AUROC", "auroc", (row) => first(row.auroc), false, "gap", "area under the ROC curve: organisms against trained nulls"],
  ["FPR", "fpr", (row) => first(row.fpr), true, "fpr", "false positive rate: trained nulls called an objective, at the method's own verdict and at TPR 0.8"],
  ["Access", "access", (row) => row.access.join(", "), true, "text gap small access"],
  ["Investigator", "investigator", (row) => row.investigator, true, "text small"],
  ["Cost", "cost", costOf, true, "small", "mean for one organism: the method's seconds and forward tokens; tokens and dollars of a language model that investigated"],
  ["Record", "date", (row) => row.date, false, "text small gap", "how far it was verified, and its date"],
];
let COLUMNS = []; // of this board: judges have a column where they were asked

function plotX(value) {
  const inside = Math.min(Math.max(value, AXIS.low), AXIS.high);
  return AXIS.margin + ((inside - AXIS.low) / (AXIS.high - AXIS.low)) * (AXIS.width - 2 * AXIS.margin);
}

function intervalPlot(row) {
  const [mean, low, high] = row.recovery || [null, null, null];
  const line = (kind, x1, x2, y1, y2) => svg("line", { class: kind, x1, x2, y1, y2 });
  const said = mean === null ? "no recovery" : `mean recovery ${num(mean)}` +
    (low === null ? ", no interval" : `, 95% interval ${num(low)} to ${num(high)}`);
  const ticks = row.units.map((value) => `M${plotX(value).toFixed(1)} 9v10`).join("");
  return svg("svg", { class: `plot ${row.role}`, viewBox: `0 0 ${AXIS.width} 28`, width: AXIS.width, height: 28, role: "img",
    "aria-label": said },
    line("axis", plotX(AXIS.low), plotX(1), 14, 14), line("end", plotX(0), plotX(0), 3, 25), line("end", plotX(1), plotX(1), 3, 25),
    row.role === "method" && references().map((value) => line("reference", plotX(value), plotX(value), 1, 27)),
    ticks && svg("path", { class: "unit", d: ticks }),
    low !== null && line("interval", plotX(low), plotX(high), 14, 14),
    low !== null && low < AXIS.low && svg("path", { class: "arrow", d: `M${plotX(AXIS.low) + 5} 10l-6 4l6 4` }),
    mean !== null && svg("circle", { class: "mean", cx: plotX(mean), cy: 14, r: 4.5 }));
}

// Means of the best floor and the lowest ceiling: what the scale means, in every plot.
function references() {
  const means = (role) => narrowbench.board.rows.filter((row) => row.role === role && row.recovery && row.verified === narrowbench.board.verified)
    .map((row) => row.recovery[0]);
  narrowbench.references ||= [["floor", Math.max], ["ceiling", Math.min]].flatMap(([role, pick]) => (means(role).length ? [pick(...means(role))] : []));
  return narrowbench.references;
}

const sliced = () => narrowbench.board.slices.length > 1;
const sliceLetter = (row) => "ABCDEFGHI"[row.sliceOrder] || "";

function range(estimate) {
  return estimate && estimate[1] !== null && el("small", null, `${num(estimate[1])} to ${num(estimate[2])}`);
}

function badge({ level, by }) {
  const [sign, meaning] = narrowbench.board.ladder[level];
  return el(`span.badge.${level}`, { title: meaning + (by ? `: ${by.join(", ")}` : "") }, el("span", { "aria-hidden": "true" }, sign), ` ${level}`);
}

// What the investigating model used, where one was asked.
function modelCost({ model_tokens: tokens, usd }) {
  return [tokens !== undefined && el("small", null, `LLM ${count(tokens)}`), usd !== undefined && el("small", null, dollars(usd))];
}

function rankText(row) {
  if (row.rank) return row.rank[0] + (row.rank[1] > row.rank[0] ? `–${row.rank[1]}` : "");
  return el("span", { "aria-label": "not ranked" }, "-");
}

function judged(row) {
  if (!row.judges) return ["–"];
  const [mean, low, high] = row.judges;
  return [num(mean, 1), el("small", null, low === null ? "" : `${num(low, 1)} to ${num(high, 1)}`), el("small", null, `${Math.round(100 * row.wellGraded)}% ≥ 4`)];
}

function cells(row) {
  const copy = el("button.copy", { type: "button", title: row.command, "aria-label": `copy the command of ${row.label}` }, "copy");
  copy.addEventListener("click", () => copied(copy, row.command));
  return [
    [rankText(row), row.rank && sliced() && el("span.slice", { title: row.slice }, sliceLetter(row))],
    [el("a", { href: `methods/${row.key}.html` }, bdi(row.label)), row.role !== "method" && el("span.tag", null, row.role),
      row.note && el("span.tag.warn", null, row.note)],
    [el("b", null, num(first(row.recovery))), range(row.recovery)],
    [intervalPlot(row)],
    [num(first(row.domain))], [num(first(row.objective))], [num(first(row.content))],
    ...(narrowbench.board.judged ? [judged(row)] : []),
    row.nNulls ? [num(first(row.auroc)), range(row.auroc)] : ["n/a", el("small", null, "needs trained nulls")],
    row.nNulls ? [`${Number(row.falseAlarms.toFixed(1))}\u202f/\u202f${row.nNulls}`, row.fprAtTpr && el("small", null, `at 0.8: ${num(row.fprAtTpr[0])}`)] : ["n/a"],
    [row.access.join(", ") || "none"],
    [bdi(row.investigator), row.model && el("small", null, bdi(row.model)), row.options.map((text) => el("small", null, bdi(text)))],
    [costOf(row) === null ? "–" : `${num(costOf(row), 1)}\u202fs`, row.cost.forward_tokens !== undefined && el("small", null, `${count(row.cost.forward_tokens)} tok.`), modelCost(row.cost)],
    [badge(row), el("small.dated", null, row.date, " ", copy)],
  ];
}

function drawnRow(row) {
  const made = cells(row).map((content, n) => {
    const [heading, key, , , kind] = COLUMNS[n];
    const tag = key === "method" ? "th" : "td";
    return el(tag, { class: kind || null, scope: tag === "th" ? "row" : null, role: tag === "th" ? "rowheader" : "cell",
      "data-label": heading && key !== "method" ? heading : null }, ...content);
  });
  return el(`tr.${row.role}`, { role: "row" }, made);
}

class Ranking {
  constructor(name, rows) {
    this.table = document.getElementById(name);
    this.table.classList.toggle("judged", narrowbench.board.judged);
    this.more = document.getElementById(`${name}-more`);
    this.rows = rows;
    this.drawn = new Map();
    this.limit = STEP;
    this.headings = COLUMNS.map(([heading, key, value, , kind, title]) => this.heading(heading, key, value, kind, title));
    this.body = el("tbody", { role: "rowgroup" });
    this.table.append(el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, this.headings)), this.body);
    this.more.addEventListener("click", () => this.draw(this.limit + STEP));
  }

  heading(heading, key, value, kind, title) {
    const made = el("th", { class: kind || null, scope: "col", role: "columnheader", title });
    if (!value) {
      const text = (x, anchor, said) => svg("text", { x, y: 11, "text-anchor": anchor }, said);
      made.append(el("span.visually-hidden", null, "95% interval"), svg("svg", { class: "scale", viewBox: `0 0 ${AXIS.width} 14`,
        width: AXIS.width, height: 14, "aria-hidden": "true" }, text(plotX(0), "middle", "chance 0"), text(plotX(1) + 7, "end", "top 1")));
      return made;
    }
    const button = el("button", { type: "button" }, heading);
    button.addEventListener("click", () => {
      const [now, up] = sorting();
      const upwards = now === key ? !up : COLUMNS.find((column) => column[1] === key)[3];
      state.write("sort", (upwards ? "" : "-") + key);
      this.draw();
      requestAnimationFrame(() => narrowbench.tables.forEach((table) => table !== this && table.draw()));
    });
    made.append(button);
    return made;
  }

  draw(limit = STEP) {
    this.limit = limit;
    const [key, up] = sorting();
    const rows = ordered(this.rows.filter(wanted), key, up);
    const shown = rows.slice(0, limit);
    COLUMNS.forEach(([, name], n) => {
      if (name && name === key) this.headings[n].setAttribute("aria-sort", up ? "ascending" : "descending");
      else this.headings[n].removeAttribute("aria-sort");
    });
    this.table.classList.toggle("sorted", Boolean(key));
    this.body.replaceChildren(...(shown.length ? shown.flatMap((row, n) => this.row(row, shown[n - 1], !key)) : [this.nothing()]));
    this.more.hidden = shown.length === rows.length;
    this.more.textContent = `Show ${Math.min(STEP, rows.length - shown.length)} more of ${rows.length} rows`;
  }

  row(row, before, grouped) {
    if (!this.drawn.has(row.key)) this.drawn.set(row.key, drawnRow(row));
    const made = this.drawn.get(row.key);
    const starts = grouped && (!before || before.role !== row.role || before.sliceOrder !== row.sliceOrder);
    made.classList.toggle("first", starts && Boolean(before));
    if (!starts || !sliced() || !row.slice) return [made];
    const { nUnits } = narrowbench.board.slices[row.sliceOrder];
    return [el("tr.group", { role: "row" }, el("th.text", { colspan: COLUMNS.length, scope: "colgroup", role: "rowheader" }, el("b", null, sliceLetter(row)),
      ` ${row.slice[0].toUpperCase()}${row.slice.slice(1)}: ${nUnits} units, ranked among themselves`)), made];
  }

  nothing() {
    return el("tr", null, el("td.text.quiet", { colspan: COLUMNS.length }, "No row fits these filters."));
  }
}

// Column and direction in the address; without one, the board's own order.
function sorting() {
  const text = state.read().get("sort") || "";
  const key = text.replace(/^-/, "");
  return COLUMNS.some((column) => column[1] === key && column[2]) ? [key, !text.startsWith("-")] : ["", true];
}

function ordered(rows, key, up) {
  if (!key) return rows;
  const value = COLUMNS.find((column) => column[1] === key)[2];
  const collator = new Intl.Collator("en", { numeric: true });
  const keyed = rows.map((row, n) => [value(row), n, row]);
  keyed.sort(([a, i], [b, j]) => {
    if (a === null || b === null) return (a === null) - (b === null) || i - j; // nothing to sort by: last either way
    const order = typeof a === "string" ? collator.compare(a, b) : a - b;
    return (up ? order : -order) || i - j;
  });
  return keyed.map(([, , row]) => row);
}

const FILTERS = [
  ["access", "Access", (row) => row.access.join(", ") || "none"],
  ["role", "Role", (row) => row.role],
  ["investigator", "Investigator", (row) => row.investigator + (row.model ? `, ${row.model}` : "")],
  ["badge", "Verified", (row) => row.level],
];

function wanted(row) {
  const parameters = state.read();
  const text = (parameters.get("find") || "").toLowerCase();
  return FILTERS.every(([key, , value]) => !parameters.get(key) || value(row) === parameters.get(key)) &&
    (!text || row.label.toLowerCase().includes(text));
}

function drawFilters(rows) {
  const form = document.getElementById("filters");
  const draw = () => narrowbench.tables.forEach((table) => table.draw());
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const [key, label, value] of FILTERS) {
    const ladder = Object.keys(narrowbench.board.ladder);
    const order = key === "badge" ? (a, b) => ladder.indexOf(b) - ladder.indexOf(a) : key === "role" ? (a, b) => ROLES[a] - ROLES[b] : undefined;
    const values = [...new Set(rows.map(value))].sort(order);
    if (values.length > 1) form.append(choice(key, label, [["", "all"], ...values.map((one) => [one, one])], draw));
  }
  const orders = [["", "the board’s"], ...["-recovery", "-domain", "-objective", "-content", "-judges", "-auroc", "fpr", "cost", "method", "-date"].map((key) =>
    [key, COLUMNS.find((column) => column[1] === key.replace("-", ""))]).filter(([, column]) => column).map(([key, column]) => [key, column[0].toLowerCase()])];
  const sort = choice("sort", "Order", orders, draw);
  sort.classList.add("narrow");
  form.append(sort);
  const find = el("input", { type: "search", name: "find", autocomplete: "off", value: state.read().get("find") || null });
  find.addEventListener("input", () => { state.write("find", find.value.trim()); draw(); });
  form.append(el("label", null, el("span", null, "Find"), find));
  window.addEventListener("hashchange", () => { find.value = state.read().get("find") || ""; draw(); });
}

// What is shown now, in its order, of both tables.
function download(rows) {
  const [key, up] = sorting();
  return ordered(rows.filter(wanted), key, up);
}

const FIELDS = [
  ["rank_low", (row) => row.rank?.[0]], ["rank_high", (row) => row.rank?.[1]], ["slice", (row) => row.slice], ["method", (row) => row.label],
  ["version", (row) => row.version], ["role", (row) => row.role], ["verification", (row) => row.level], ["verified_by", (row) => row.by?.join(", ")], ["note", (row) => row.note],
  ...["recovery", "domain", "objective", "content", "auroc", "fpr", "fprAtTpr"].flatMap((name) => ["", "_low", "_high"].map((end, n) =>
    [name.replace("AtTpr", "_at_tpr_0.8") + end, (row) => row[name]?.[n]])),
  ...["judges", "judges_low", "judges_high"].map((name, n) => [name, (row) => row.judges?.[n]]), ["judges_at_least_4", (row) => row.wellGraded],
  ["interval", (row) => row.intervalKind], ["units", (row) => row.units.length], ["trained_nulls", (row) => row.nNulls],
  ["access", (row) => row.access.join(" ")], ["investigator", (row) => row.investigator], ["model", (row) => row.model], ["options", (row) => row.options.join("; ")],
  ...["seconds", "forward_tokens", "generated_tokens", "flops", "peak_bytes", "model_tokens", "usd"].map((name) => [name, (row) => row.cost[name]]),
  ["date", (row) => row.date], ["command", (row) => row.command], ["records", (row) => row.records.join(" ")],
];

function csvCell(value) {
  if (value === null || value === undefined) return "";
  // A spreadsheet would run a text that starts like a formula.
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csvText(rows) {
  return [FIELDS.map(([name]) => name), ...rows.map((row) => FIELDS.map(([, value]) => csvCell(value(row))))].map((line) => line.join(",")).join("\r\n") + "\r\n";
}

document.addEventListener("DOMContentLoaded", () => {
  const { rows, suite, judged } = narrowbench.board;
  COLUMNS = ALL_COLUMNS.filter(([, key]) => key !== "judges" || judged);
  const parts = [["ranked", true], ["unranked", false]].filter(([name]) => document.getElementById(name));
  narrowbench.tables = parts.map(([name, verified]) => new Ranking(name, rows.filter((row) => row.verified === verified)));
  drawFilters(rows);
  narrowbench.tables.forEach((table) => table.draw());
  const file = `narrowbench-${suite.id.replace(/[^\w.-]+/g, "-").slice(0, 60)}`;
  document.getElementById("csv").addEventListener("click", () => saved(`${file}.csv`, "text/csv", csvText(download(rows))));
  document.getElementById("json").addEventListener("click", () =>
    saved(`${file}.json`, "application/json", JSON.stringify({ suite, rows: download(rows) }, null, 1)));
});
