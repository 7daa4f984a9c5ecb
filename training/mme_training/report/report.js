"use strict";
(() => {
  const table = document.getElementById("table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const filter = document.getElementById("filter");
  const shown = document.querySelector("output");

  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    let count = 0;
    for (const row of rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = `${count} of ${rows.length}`;
  });

  const compare = (a, b) => {
    if (a.dataset.v !== undefined && b.dataset.v !== undefined) return a.dataset.v - b.dataset.v;
    return a.textContent < b.textContent ? -1 : a.textContent > b.textContent ? 1 : 0;
  };
  heads.forEach((head, place) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      // A cell without its number stays last in either direction.
      const numbers = head.classList.contains("number");
      const absent = (row) => numbers && row.cells[place].dataset.v === undefined;
      rows.sort((a, b) => absent(a) - absent(b)
        || (down ? -1 : 1) * compare(a.cells[place], b.cells[place]));
      body.append(...rows);
    });
  });
})();
