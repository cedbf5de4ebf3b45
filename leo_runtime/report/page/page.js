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
      m.setAttribute("text-anchor", !k ? "start" : k * apart > 0.97 * (us / 1000) ? "end" : "middle");
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
// What a page says of itself is printed, too.
const said = [...document.querySelectorAll("details.printed:not([open])")];
addEventListener("beforeprint", () => { for (const part of said) part.open = true; });
addEventListener("afterprint", () => { for (const part of said) part.open = false; });
// Heat maps: one at a time.
const heats = document.querySelector('.controls[data-for="heats"]');
if (heats) {
  const select = heats.querySelector("select");
  const show = () => { for (const map of document.querySelectorAll("figure.heat")) map.hidden = map.id !== select.value; };
  select.addEventListener("change", show);
  heats.hidden = false;
  show();
}
// Points of any two measures, and which of them are on the front, by the figures of the table of cells.
const trade = document.querySelector('.controls[data-for="pareto"]');
if (trade) {
  const svg = document.querySelector("#pareto"), first = +document.querySelector("#pareto-figure").dataset.first;
  const [height, top, edge] = [320, 12, 0.04], made = (name, of) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(of)) node.setAttribute(key, value);
    return node;
  };
  const rows = [...document.querySelector("#points-table").tBodies[0].rows].map((row) => [...row.cells].slice(first).map((cell) => +(cell.dataset.v ?? NaN)));
  const circles = [...svg.querySelectorAll("circle")], names = circles.map((circle) => circle.querySelector("title").textContent);
  const round = (low, high) => {
    const least = (high - low) / 6, power = 10 ** Math.floor(Math.log10(least)), apart = power * [1, 2, 5, 10].find((f) => power * f >= least * 0.999999), found = [];
    for (let k = Math.ceil(low / apart); k * apart <= high; k++) found.push(+(k * apart).toPrecision(12));
    return found;
  };
  const draw = () => {
    const [up, across] = ["up", "across"].map((way) => trade.querySelector(`select[data-way="${way}"]`).selectedOptions[0]);
    const pairs = rows.map((row) => [row[+across.value], row[+up.value]]), known = [...pairs.keys()].filter((k) => pairs[k].every(Number.isFinite));
    const span = (values) => {
      const low = Math.min(...values), high = Math.max(...values), room = (high - low) * edge || Math.abs(high) * edge || 1;
      return [low - room, high + room];
    };
    const [lowX, highX] = span(known.map((k) => pairs[k][0])), [lowY, highY] = span(known.map((k) => pairs[k][1]));
    const x = (value) => ((value - lowX) / (highX - lowX)) * 100 + "%", y = (value) => top + height * (1 - (value - lowY) / (highY - lowY));
    const sign = [across, up].map((option) => ({ lower: 1, higher: -1 })[option.dataset.better] ?? NaN), cost = (k) => pairs[k].map((value, at) => sign[at] * value), best = [];
    if (sign.every(Number.isFinite)) for (const k of [...known].sort((a, b) => cost(a)[0] - cost(b)[0] || cost(a)[1] - cost(b)[1] || a - b)) {
      const last = best.length ? cost(best[best.length - 1]) : [0, Infinity], own = cost(k);
      if (own[1] < last[1] || (own[0] === last[0] && own[1] === last[1])) best.push(k);
    }
    circles.forEach((circle, k) => {
      const there = known.includes(k);
      circle.classList.toggle("hidden", !there);
      circle.classList.toggle("best", best.includes(k));
      circle.setAttribute("r", best.includes(k) ? 5 : 4);
      if (there) { circle.setAttribute("cx", x(pairs[k][0])); circle.setAttribute("cy", y(pairs[k][1])); }
      circle.querySelector("title").textContent = `${names[k]}: ${up.label} ${+pairs[k][1].toPrecision(4)}; ${across.label} ${+pairs[k][0].toPrecision(4)}`;
    });
    const grid = [], text = (value, of) => { const node = made("text", of); node.textContent = value.toLocaleString("en"); grid.push(node); };
    for (const value of round(lowX, highX)) {
      grid.push(made("line", { x1: x(value), x2: x(value), y1: top, y2: top + height }));
      text(value, { x: x(value), y: top + height + 16, "text-anchor": "middle" });
    }
    for (const value of round(lowY, highY)) {
      grid.push(made("line", { x1: "0%", x2: "100%", y1: y(value), y2: y(value) }));
      text(value, { x: "0%", y: y(value), dx: 2, dy: -3 });
    }
    svg.querySelector(".grid").replaceChildren(...grid);
    svg.querySelector(".front").replaceChildren(...best.slice(1).flatMap((k, at) => {
      const [x1, y1] = pairs[best[at]], [x2, y2] = pairs[k];
      return [made("line", { x1: x(x1), x2: x(x2), y1: y(y1), y2: y(y1) }), made("line", { x1: x(x2), x2: x(x2), y1: y(y1), y2: y(y2) })];
    }));
    for (const [way, option] of [["up", up], ["across", across]]) document.querySelector(`[data-name="${way}"]`).textContent = option.label;
    svg.querySelector("title").textContent = `${up.label} against ${across.label}`;
    svg.querySelector("desc").textContent = `${known.length} points of ${across.label} and ${up.label}; ${best.length} of them are on the front`;
  };
  const told = document.querySelector("#pareto-figure .told");
  const tell = (event) => { const title = event.target.querySelector?.("title"); if (event.target.matches("circle")) { told.textContent = title.textContent; told.hidden = false; } };
  svg.addEventListener("pointerover", tell);
  svg.addEventListener("click", tell);
  trade.addEventListener("change", draw);
  trade.hidden = false;
  draw();
}
