// Sorting tables by a click or a key on a column's heading, and opening the section that a link points to.
// The page is complete without it.
"use strict";

function sortable(table) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if (!heading.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const now = heading.getAttribute("aria-sort");
      const up = now ? now === "descending" : heading.dataset.sort === "up";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      table.classList.add("sorted");
      const rows = [...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column]));
      body.append(...(up ? rows : rows.reverse()));
    });
  });
}

function compare(a, b) {
  if (a.dataset.value !== undefined) return Number(a.dataset.value) - Number(b.dataset.value);
  return a.textContent.trim().localeCompare(b.textContent.trim());
}

function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") target.open = true;
}

document.querySelectorAll("table[data-sortable]").forEach(sortable);
window.addEventListener("hashchange", openTarget);
openTarget();
