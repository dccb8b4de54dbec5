// The suite page's further figures: scores by organism, pairs, recovery against cost.
"use strict";

const PART_NAMES = ["recovery", "domain", "objective", "content"];
const VERDICT_SIGNS = { objective: ["✗", "objective", "bad"], no_objective: ["✓", "none", "good"], unsure: ["?", "unsure", ""] };
const NULL_KINDS = { zero: "zero adapter", broad: "trained on broad facts", text: "trained on the base’s own text" };

// The shade of a score's cell: n2, n1 (below chance), 0 (chance) to 5 (top).
function tint(value) {
  if (value < -0.05) return value < -0.3 ? "n2" : "n1";
  return String(Math.min(5, Math.max(0, Math.floor(value * 5 + 0.5))));
}

function entryHead(row) {
  return el(`th.head.${row.role}`, { scope: "col" }, el("a.upright", { href: `methods/${row.key}.html` }, bdi(row.label)));
}

function organismHead(organism, about) {
  return el("th.text.sticky", { scope: "row" }, el("a", { href: `organisms/${organism.key}.html` }, bdi(organism.name)), el("small", null, about));
}

function drawHeat(board, byKey) {
  const { heat } = board;
  const part = Math.max(0, PART_NAMES.indexOf(state.read().get("part")));
  const family = state.read().get("family");
  const columns = heat.entries.map((key) => byKey.get(key));
  const body = heat.organisms.map((organism, n) => [organism, heat.scores[n]]).filter(([organism]) => !family || organism.family === family)
    .map(([organism, scores]) => el(`tr.${organism.role}${organism.counted ? "" : ".uncounted"}`, null,
      organismHead(organism, organism.family + (organism.role === "twin" ? ", twin" : "") + (organism.trainings ? `, ${organism.trainings} trainings` : "") + (organism.counted ? "" : ", not counted")),
      scores.map((cell) => (cell && cell[part] !== null ? el(`td.cell.t${tint(cell[part])}`, null, num(cell[part])) :
        el("td.cell.none", null, el("span", { "aria-label": "not scored" }, "–"))))));
  const nulls = family ? [] : heat.nulls.map((organism, n) => el(`tr.null${n ? "" : ".first"}`, null,
    organismHead(organism, NULL_KINDS[organism.nullKind] + (organism.counted || organism.nullKind === "zero" ? "" : "; fails its gate, not counted")),
    heat.verdicts[n].map((told) => {
      if (!told) return el("td.cell.none", null, el("span", { "aria-label": "no claim" }, "–"));
      const [sign, text, kind] = VERDICT_SIGNS[told[0]];
      return el("td.cell.claim", { title: `confidence ${num(told[1])}` }, el(`span.sign${kind && `.${kind}`}`, { "aria-hidden": "true" }, sign), el("small", null, text));
    })));
  document.getElementById("heat").replaceChildren(
    el("thead", null, el("tr", null, el("th.text.sticky", { scope: "col" }, "Organism"), columns.map(entryHead))), el("tbody", null, body, nulls));
}

function drawPairs(board, byKey) {
  const place = document.getElementById("pair-tables");
  if (!place) return;
  for (const part of board.slices.filter((one) => one.p.length || one.nMembers === 1)) {
    const rows = part.entries.map((key) => byKey.get(key));
    const n = rows.length;
    let next = 0;
    const found = rows.map((_, i) => rows.map((__, j) => (j > i ? [part.differences[next], part.p[next++]] : null)));
    const head = el("tr", null, el("td", null), rows.slice(1).map((row) => el("th.head", { scope: "col" }, el("span.upright", null, bdi(row.label)))));
    const body = rows.slice(0, -1).map((row, i) => el("tr", null, el("th.text.sticky", { scope: "row" }, bdi(row.label)), rows.slice(1).map((_, k) => {
      const pair = found[i][k + 1];
      if (!pair) return el("td.blank", null);
      const sure = pair[1] <= 0.05;
      return el(`td.pair${sure ? ".sure" : ""}`, null, el(sure ? "b" : "span", null, (sure ? "• " : "") + num(pair[0])), el("small", null, pair[1] < 0.001 ? "p < .001" : `p ${num(pair[1], 3).replace(/^0/, "")}`));
    })));
    const about = `${part.name}: ${part.nUnits} units` + (part.nMembers > n ? `, the best ${n} of ${part.nMembers}` : "");
    place.append(el("h3", null, about[0].toUpperCase() + about.slice(1)), n > 1 ? el("div.scroll", { role: "region", "aria-label": about, tabindex: "0" },
      el("table.pairs", { "aria-label": about }, el("thead", null, head), el("tbody", null, body))) : el("p.quiet", null, "One method: nothing to compare."));
  }
}

const COST_NAMES = { seconds: "seconds", forward_tokens: "forward tokens", generated_tokens: "generated tokens", flops: "FLOPs", peak_bytes: "peak bytes",
  model_tokens: "model tokens", usd: "dollars" };
const PANEL = { width: 340, height: 250, left: 40, right: 14, top: 14, bottom: 40 };

// Round values on a logarithmic axis: powers of ten where they suffice, else 1, 2 and 5 times them.
function ticks([low, high]) {
  const steps = high - low > 4 ? [1] : [1, 2, 5];
  const all = [];
  for (let power = Math.floor(low); power <= high; power += 1) all.push(...steps.map((step) => Number((step * 10 ** power).toPrecision(1))));
  const inside = all.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
  return inside.filter((_, n) => n % Math.ceil(inside.length / 6) === 0);
}

// Names for the best points of the front, best first, as far as they do not cover each other.
function labelled(front, x, y) {
  const placed = [];
  for (const row of [...front].reverse()) {
    const said = row.label.length > 30 ? `${row.label.slice(0, 29)}…` : row.label;
    const right = x(row) > PANEL.width * 0.55;
    const at = x(row) + (right ? -8 : 8);
    const height = y(row) - 6;
    const left = right ? at - said.length * 6.2 : at;
    const free = placed.every((other) => Math.abs(other.height - height) > 13 || left > other.left + other.width || left + said.length * 6.2 < other.left);
    if (free && placed.length < 4) placed.push({ said, at, height, right, left, width: said.length * 6.2 });
  }
  return placed;
}

function panel(title, rows, key, ends, lines) {
  const x = (value) => PANEL.left + ((Math.log10(value) - ends[0]) / (ends[1] - ends[0])) * (PANEL.width - PANEL.left - PANEL.right);
  const y = (value) => PANEL.top + ((1 - Math.max(-0.25, value)) / 1.25) * (PANEL.height - PANEL.top - PANEL.bottom);
  const cheap = [...rows].sort((a, b) => a.cost[key] - b.cost[key] || b.recovery[0] - a.recovery[0]);
  const front = cheap.filter((row, n) => cheap.slice(0, n).every((other) => other.recovery[0] < row.recovery[0]));
  const marks = ticks(ends);
  const named = labelled(front, (row) => x(row.cost[key]), (row) => y(row.recovery[0]));
  const text = (attributes, ...said) => svg("text", attributes, ...said);
  return el("figure.panel", null, el("figcaption", null, title), svg("svg", { viewBox: `0 0 ${PANEL.width} ${PANEL.height}`, role: "img",
    "aria-label": `${title}: recovery against ${COST_NAMES[key]}; not matched by a cheaper one: ${front.map((row) => row.label).join(", ")}` },
    [0, 0.5, 1].map((value) => [svg("line", { class: value === 0.5 ? "axis" : "end", x1: PANEL.left, x2: PANEL.width - PANEL.right, y1: y(value), y2: y(value) }),
      text({ x: PANEL.left - 7, y: y(value) + 4, "text-anchor": "end" }, String(value))]),
    references().map((value) => svg("line", { class: "reference", x1: PANEL.left, x2: PANEL.width - PANEL.right, y1: y(value), y2: y(value) })),
    marks.map((value) => text({ x: x(value), y: PANEL.height - PANEL.bottom + 18, "text-anchor": "middle" }, value < 1 ? String(value) : count(value).replace(".0", ""))),
    text({ x: PANEL.width - PANEL.right, y: PANEL.height - 4, "text-anchor": "end" }, COST_NAMES[key]),
    svg("path", { class: "front", d: front.map((row, n) => `${n ? "H" : "M"}${x(row.cost[key])}${n ? "V" : " "}${y(row.recovery[0])}`).join("") }),
    cheap.map((row) => svg("g", { class: `point${front.includes(row) ? " best" : ""}` },
      svg("title", null, `${row.label}: ${num(row.recovery[0])}, ${count(row.cost[key])} ${COST_NAMES[key]}`),
      row.recovery[1] !== null && svg("line", { x1: x(row.cost[key]), x2: x(row.cost[key]), y1: y(row.recovery[1]), y2: y(Math.min(1, row.recovery[2])) }),
      svg("circle", { cx: x(row.cost[key]), cy: y(row.recovery[0]), r: 4 }))),
    named.map(({ said, at, height, right }) => text({ class: "name", x: at, y: height, "text-anchor": right ? "end" : "start" }, said))));
}

// Where others vouch for rows, only those: nobody's own row takes the front from them.
const pricedRows = (board) => board.rows.filter((row) => row.role === "method" && row.recovery && !row.note && row.verified === board.verified);

function drawPareto(board) {
  const rows = pricedRows(board);
  const costs = costsOf(rows);
  const place = document.getElementById("pareto");
  const key = costs.find((name) => name === state.read().get("cost")) || costs[0];
  const kept = rows.filter((row) => row.cost[key] > 0);
  if (!key || !kept.length) return place.replaceChildren(el("p.quiet", null, "No row carries a cost."));
  const logs = kept.map((row) => Math.log10(row.cost[key]));
  const middle = (Math.min(...logs) + Math.max(...logs)) / 2;
  const half = Math.max(0.5, (Math.max(...logs) - Math.min(...logs)) / 2 + 0.15);
  const ends = [middle - half, middle + half];
  const byAccess = new Map();
  for (const row of kept) {
    const name = row.access.join(", ") || "none";
    byAccess.set(name, [...(byAccess.get(name) || []), row]);
  }
  return place.replaceChildren(...[...byAccess].sort(([a], [b]) => a.localeCompare(b)).map(([name, some]) => panel(name, some, key, ends)));
}

function costsOf(rows) {
  return Object.keys(COST_NAMES).filter((name) => rows.some((row) => row.cost[name] > 0));
}

document.addEventListener("DOMContentLoaded", () => {
  const { board } = narrowbench;
  const byKey = new Map(board.rows.map((row) => [row.key, row]));
  const draw = { heat: () => drawHeat(board, byKey), cost: () => drawPareto(board) };
  const families = [...new Set(board.heat.organisms.map((organism) => organism.family))].sort();
  const forms = { heat: document.getElementById("heat-filters"), cost: document.getElementById("cost-filters") };
  Object.values(forms).forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));
  forms.heat.append(choice("part", "Score", PART_NAMES.map((name) => [name, name]), draw.heat));
  if (families.length > 1) forms.heat.append(choice("family", "Family", [["", "all"], ...families.map((name) => [name, name])], draw.heat));
  const costs = costsOf(pricedRows(board));
  if (costs.length > 1) forms.cost.append(choice("cost", "Cost in", costs.map((name) => [name, COST_NAMES[name]]), draw.cost));
  window.addEventListener("hashchange", () => { draw.heat(); draw.cost(); });
  draw.heat();
  drawPairs(board, byKey);
  draw.cost();
});
