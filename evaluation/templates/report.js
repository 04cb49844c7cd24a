"use strict";
// Sorting of tables and the cue of those that scroll. Without this script every table is still there, unsorted.
(() => {
  const value = (cell) => {
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = text === "" ? NaN : Number(text.replace("\u2212", "-"));
    return Number.isNaN(number) ? text : number;
  };
  const absent = (v) => v === "" || v === "n/a";
  const order = (a, b) => (typeof a === "number" && typeof b === "number"
    ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));

  for (const table of document.querySelectorAll("table.sortable")) {
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const rising = header.getAttribute("aria-sort") !== "ascending";
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", rising ? "ascending" : "descending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [value(row.cells[column]), row]);
        // what has no number stays at the end, whichever way
        rows.sort(([a], [b]) => absent(a) - absent(b) || (rising ? order(a, b) : order(b, a)));
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  const update = () => {
    for (const box of document.querySelectorAll(".scroll")) {
      const inner = box.firstElementChild;
      box.classList.toggle("wide", inner.scrollWidth > inner.clientWidth + 1);
      box.classList.toggle("end", inner.scrollLeft + inner.clientWidth >= inner.scrollWidth - 1);
    }
  };
  for (const box of document.querySelectorAll(".scroll")) {
    box.firstElementChild.addEventListener("scroll", update, { passive: true });
  }
  document.addEventListener("toggle", update, true);
  window.addEventListener("resize", update);
  update();
})();
