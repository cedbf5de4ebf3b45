"use strict";
// Tables: a click on a column's name sorts by it, and by it the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.rows[0].addEventListener("click", (event) => {
    const head = event.target.closest("th");
    if (!head || !event.target.closest("button")) return;
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down < 0 ? "descending" : "ascending");
    const value = (row) => row.cells[head.cellIndex].dataset.v ?? row.cells[head.cellIndex].textContent;
    const compare = head.classList.contains("n") ? (a, b) => value(a) - value(b) : (a, b) => (value(a) > value(b)) - (value(a) < value(b));
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => down * compare(a, b)));
  });
}
// Frames: one at a time, as wide as is asked for.
const frames = [...document.querySelectorAll("figure.frame")];
const controls = document.querySelector('.controls[data-for="frames"]');
if (controls) {
  const select = controls.querySelector("select");
  const nice = (least) => { const power = 10 ** Math.floor(Math.log10(least)); return power * [1, 2, 5, 10].find((f) => power * f >= least * 0.999999); };
  let shown, zoom = 1;
  const fit = () => {  // Names where there is room for them, and as many marks on the axis as there is room for.
    const svg = shown.querySelector("svg.bars"), wide = svg.getBoundingClientRect().width, us = +svg.parentNode.dataset.us;
    if (!wide) return;  // It is not laid out, as in a tab in the background.
    const long = [...svg.querySelectorAll(".b")].map((bar) => [bar.querySelector("text"), bar.querySelector("rect").getBoundingClientRect().width]);
    for (const [text, room] of long) if (text) text.classList.toggle("hidden", text.textContent.length * 6.2 + 6 > room);
    let end = -Infinity;  // Deadlines are named where the one before leaves room.
    for (const text of svg.querySelectorAll(".due text")) {
      text.classList.remove("hidden");
      const box = text.getBoundingClientRect();
      if (box.left < end + 6) text.classList.add("hidden"); else end = box.right;
    }
    const grid = svg.querySelector(".grid"), [line, mark] = [grid.querySelector("line"), grid.querySelector("text")];
    const apart = nice((us / 1000) * 90 / wide), places = Math.max(0, -Math.floor(Math.log10(apart) + 1e-9)), parts = [];
    for (let k = 0; k * apart <= us / 1000; k++) {
      const x = (k * apart * 100000) / us + "%", l = line.cloneNode(), m = mark.cloneNode();
      for (const [node, name] of [[l, "x1"], [l, "x2"], [m, "x"]]) node.setAttribute(name, x);
      m.setAttribute("text-anchor", k ? "middle" : "start");
      m.textContent = (k * apart).toFixed(places) + " ms";
      parts.push(l, m);
    }
    grid.replaceChildren(...parts);
  };
  const widen = (factor, at = 0.5) => {
    const scroll = shown.querySelector(".scroll"), svg = scroll.firstElementChild;
    const kept = (scroll.scrollLeft + at * scroll.clientWidth) / svg.getBoundingClientRect().width;
    zoom = factor ? Math.min(64, Math.max(1, zoom * factor)) : 1;
    svg.style.width = 100 * zoom + "%";
    scroll.scrollLeft = kept * svg.getBoundingClientRect().width - at * scroll.clientWidth;
    fit();
  };
  const show = (id) => {
    shown = frames.find((frame) => frame.id === id) ?? shown ?? frames[0];
    for (const frame of frames) frame.hidden = frame !== shown;
    select.value = shown.id;
    widen(0);
  };
  const tell = (event) => {
    const bar = event.target.closest("g"), told = shown.querySelector(".told"), title = bar && bar.querySelector("title");
    if (title) { told.textContent = title.textContent; told.hidden = false; }
  };
  for (const frame of frames) {
    const scroll = frame.querySelector(".scroll");
    scroll.addEventListener("pointerover", tell);
    scroll.addEventListener("click", tell);
    scroll.addEventListener("dblclick", (event) => widen(2, (event.clientX - scroll.getBoundingClientRect().left) / scroll.clientWidth));
    scroll.addEventListener("keydown", (event) => {
      const factor = { "+": 2, "=": 2, "-": 0.5, "0": 0 }[event.key];
      if (factor !== undefined && !event.ctrlKey && !event.metaKey) { widen(factor); event.preventDefault(); }
    });
    scroll.addEventListener("wheel", (event) => {  // With Ctrl, as a pinch comes: the page scrolls as usual otherwise.
      if (!event.ctrlKey) return;
      event.preventDefault();
      widen(event.deltaY < 0 ? 1.25 : 0.8, (event.clientX - scroll.getBoundingClientRect().left) / scroll.clientWidth);
    }, { passive: false });
  }
  select.addEventListener("change", () => show(select.value));
  controls.addEventListener("click", (event) => {
    const { step, zoom: factor } = event.target.dataset;
    if (step) show(frames[(frames.indexOf(shown) + +step + frames.length) % frames.length].id);
    if (factor) widen(+factor);
  });
  const follow = () => { if (location.hash.startsWith("#frame-")) { show(location.hash.slice(1)); shown.scrollIntoView(); } };
  addEventListener("hashchange", follow);
  addEventListener("resize", fit);
  controls.hidden = false;
  show(document.querySelector("#frames").dataset.first);
  follow();
}
