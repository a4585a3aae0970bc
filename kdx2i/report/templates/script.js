"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);

// Colours: as the system, dark, light.
const themes = ["", "dark", "light"];
one("#theme").addEventListener("click", (event) => {
  const root = document.documentElement;
  const next = themes[(themes.indexOf(root.dataset.theme ?? "") + 1) % themes.length];
  if (next) root.dataset.theme = next; else delete root.dataset.theme;
  event.currentTarget.textContent = `Colours: ${next || "as the system"}`;
});
one("#print").addEventListener("click", () => window.print());
let opened = [];
window.addEventListener("beforeprint", () => { opened = all("details:not([open])"); for (const item of opened) item.open = true; });
window.addEventListener("afterprint", () => { for (const item of opened) item.open = false; });
one("#printed")?.addEventListener("change", (event) => one("#tables").classList.toggle("hide-printed", !event.target.checked));

// A link into a closed section opens it.
const openTarget = () => document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("details")?.setAttribute("open", "");
window.addEventListener("hashchange", openTarget);
openTarget();

// Sorting: numbers as numbers, what is no number last.
const value = (row, column) => { const cell = row.cells[column]; return (cell.dataset.sort ?? cell.textContent).trim(); };
const number = (text) => { const found = text.replace("−", "-").replaceAll(",", "").match(/^[+-]?\d+(\.\d+)?/); return found ? Number(found[0]) : null; };
for (const table of all("table.sortable")) {
  for (const [column, heading] of all("thead th", table).entries()) {
    one(".sort", heading)?.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of all("thead th", table)) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const numeric = heading.classList.contains("number");
      const rows = all("tbody tr", table).map((row) => [row, numeric ? number(value(row, column)) : value(row, column)]);
      rows.sort(([, first], [, second]) => {
        if (first === null || second === null) return (first === null) - (second === null);
        const order = numeric ? first - second : first.localeCompare(second, "en", { numeric: true });
        return down ? -order : order;
      });
      one("tbody", table).append(...rows.map(([row]) => row));
    });
  }
}

// Filtering: words that all occur, choices of columns, and a switch for one class.
for (const form of all("form.filters")) {
  const target = document.getElementById(form.dataset.for);
  const items = () => (target.tagName === "TABLE" ? all("tbody tr", target) : [...target.children]);
  for (const select of all("select", form)) {
    const known = [...new Set(items().map((row) => value(row, Number(select.dataset.column))))].sort();
    select.append(...known.map((text) => new Option(text, text)));
  }
  const apply = () => {
    const words = one("input[type=search]", form).value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = all("select", form).filter((select) => select.value);
    const only = all("input[data-only]:checked", form).map((box) => box.dataset.only);
    let shown = 0;
    for (const item of items()) {
      const text = item.textContent.toLowerCase();
      item.hidden = !(words.every((word) => text.includes(word)) && only.every((name) => item.classList.contains(name))
        && chosen.every((select) => value(item, Number(select.dataset.column)) === select.value));
      shown += !item.hidden;
    }
    one("output", form).textContent = `${shown} of ${items().length}`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

// Keys: `/` to the filter, arrows from number to number.
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName) && !one("dialog[open]")) {
    event.preventDefault();
    one("#cells-filter").focus();
  }
  const cell = document.activeElement.closest?.("table.grid td, table.list th, table.list td");
  if (!cell || !document.activeElement.classList.contains("cell")) return;
  const row = cell.parentElement;
  const rows = all("tbody tr:not([hidden])", row.closest("table"));
  const at = rows.indexOf(row);
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!step) return;
  const next = rows[at + step[0]]?.cells[cell.cellIndex + step[1]];
  const button = next && one("button.cell", next);
  if (button) { event.preventDefault(); button.focus(); }
});

// Pictures.
let scale = 1;
const resize = () => { const image = one("#zoom-body img"); image.style.width = `${image.getAttribute("width") * scale}px`; };
const zoom = (key) => {
  const source = document.getElementById(key);
  const image = source.cloneNode();
  image.removeAttribute("id");
  one("#zoom-title").textContent = source.dataset.caption;
  one("#zoom-body").replaceChildren(image, Object.assign(document.createElement("p"), { className: "small", textContent: source.dataset.place }));
  scale = Math.max(1, Math.min(3, Math.floor((window.innerWidth * 0.9) / source.getAttribute("width"))));
  resize();
  one("#zoom").showModal();
};
for (const button of all("[data-zoom]")) button.addEventListener("click", () => { scale = Math.min(8, Math.max(0.25, scale * Number(button.dataset.zoom))); resize(); });
for (const button of all("dialog .close")) button.addEventListener("click", () => button.closest("dialog").close());
for (const box of all("dialog")) box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
document.addEventListener("click", (event) => {
  const picture = event.target.closest("[data-zooms]");
  if (picture) zoom(picture.dataset.zooms);
  const cell = event.target.closest("[data-cell]");
  if (cell) showLineage(cell.dataset.cell);
});
