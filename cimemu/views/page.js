"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const tip = $("tip");
const ROW = 15;
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function unpack(name) {
  const { type, data } = D.arrays[name];
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  return new { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f32: Float32Array, f64: Float64Array }[type](bytes.buffer);
}
const B = { unit: unpack("bin_unit"), layer: unpack("bin_layer"), bin: unpack("bin_bin"), fill: unpack("bin_fill") };
const E = {};
for (const name of ["unit", "layer", "kind", "image", "start", "length", "op"]) E[name] = unpack("event_" + name);

const cycles = (c) => Math.round(c).toLocaleString("en") + " cycles";
const time = (c) => { const ns = c * D.clock_ns; return ns >= 1e6 ? number(ns / 1e6) + " ms" : ns >= 1e3 ? number(ns / 1e3) + " us" : number(ns) + " ns"; };
const rate = (tops) => tops >= 1 ? number(tops, 3) + " TOPS" : tops >= 1e-3 ? number(tops * 1e3, 3) + " GOPS" : number(tops * 1e6, 3) + " MOPS";
/* Ten hues that colour-blind readers tell apart (after Okabe and Ito, and Tol), in plain, striped and dotted: thirty layers. */
const HUES = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#999933", "#882255", "#44aa99", "#6f5fc9"];
const colour = (i) => HUES[i % HUES.length];
const WAITING = "#8b94a1";
const texture = (i) => Math.floor(i / HUES.length) % 3;
const layerFill = (i) => {
  if (i < 0) return WAITING;
  const c = colour(i);
  return [c, `repeating-linear-gradient(45deg, ${c} 0 3px, #ffffffb0 3px 5px)`, `radial-gradient(circle, #ffffffd0 1px, ${c} 1.6px) 0 0/5px 5px`][texture(i)];
};
const patterns = new Map();
function layerInk(g, i) {
  if (i < 0) return WAITING;
  if (!texture(i)) return colour(i);
  if (!patterns.has(i)) {
    const tile = document.createElement("canvas"); tile.width = tile.height = 6;
    const t = tile.getContext("2d"); t.fillStyle = colour(i); t.fillRect(0, 0, 6, 6); t.fillStyle = t.strokeStyle = "#ffffffb0";
    if (texture(i) === 1) { t.lineWidth = 1.6; for (const s of [-6, 0, 6]) { t.beginPath(); t.moveTo(s, 6); t.lineTo(s + 6, 0); t.stroke(); } } else t.fillRect(2, 2, 2, 2);
    patterns.set(i, g.createPattern(tile, "repeat"));
  }
  return patterns.get(i);
}
const CAUSE_COLOURS = { busy: "#0072b2", adc: "#e69f00", bus: "#d55e00", buffer: "#6f5fc9", noc: "#cc79a7", memory: "#882255", data: "#999933", programming: "#44aa99", done: "#c3cad4" };

function hint(node, text) {
  node.addEventListener("mousemove", (event) => show(event, text));
  node.addEventListener("mouseleave", () => { tip.style.display = "none"; });
}
function show(event, text) {
  tip.textContent = text;
  tip.style.display = "block";
  tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8) + "px";
}
function track(parent, name, parts, whole) {
  const box = element("span", parent, null, { class: "track" });
  for (const [label, value, fill] of parts) {
    if (!(value > 0)) continue;
    const piece = element("i", box);
    piece.style.width = (100 * value) / whole + "%";
    piece.style.background = fill;
    hint(piece, `${name}\n${label}`);
  }
}
function bar(parent, name, parts, whole, right) {
  const row = element("div", parent, null, { class: "bar" });
  element("span", row, shortName(name), { title: name });
  track(row, name, parts, whole);
  element("span", row, right);
  return row;
}
function legend(id, entries) {
  for (const [name, fill] of entries) {
    const item = element("li", $(id));
    element("i", item).style.background = fill;
    item.appendChild(document.createTextNode(name));
  }
}

/* the two ends of a 90 % interval behind their figure */
function ends(low, high) {
  return low === null || high === null ? "" : ` [${number(low, 3)}, ${number(high, 3)}]`;
}

/* first screen */
const s = D.summary;
document.title = `${s.workload} on ${s.arch}`;
$("title").textContent = `${s.workload} on ${s.arch}`;
$("subtitle").textContent = `${number(s.images)} ${s.images === 1 ? "image" : "images"}, ${s.schedule.replaceAll("_", " ")}, one cycle = ${number(s.clock_ns)} ns; cimemu ${D.version}; ${D.file}`;
for (const [value, label] of [
  [s.accuracy === null ? "no labels" : percent(s.accuracy), "accuracy"],
  [`${time(s.cycles_per_image)} (${cycles(s.cycles_per_image)})`, "time an image"],
  [s.energy_uj > 0 ? number(s.energy_uj_per_image, 3) + " uJ" + ends(s.energy_uj_per_image_low, s.energy_uj_per_image_high) : "no prices", "energy an image, with its 90 % interval"],
  [rate(s.tops), "rate, 1 MAC = 2 operations"],
  [s.tops_per_w === null ? "unknown" : number(s.tops_per_w, 3) + ends(s.tops_per_w_low, s.tops_per_w_high), "TOPS/W, leakage included"],
  [`${number(s.macros)}, ${percent(s.utilization)} of their cells`, "macros used"],
  [s.area_mm2 > 0 ? number(s.area_mm2, 3) + " mm2" + ends(s.area_mm2_low, s.area_mm2_high) : "not known", "area"],
]) {
  const item = element("li", $("facts"));
  item.append(`${label} `);
  element("b", item, value);
}
/* what is to be typed stands apart from the words around it */
function typed(line, text) {
  for (const part of text.split(/(--set [^\s:]+)/)) part.startsWith("--set ") ? element("code", line, part) : line.append(part);
}
for (const { question, answer, detail, more } of D.questions) {
  const box = element("div", $("answers"));
  element("h2", box, question);
  element("b", box, answer);
  typed(element("p", box), detail);
  for (const { title, text } of more ?? []) {
    const line = element("p", box);
    element("strong", line, title);
    line.append(": ");
    typed(line, text);
  }
}

/* time and energy by layer */
const T = D.twin, SHORT = D.layers.short, shortName = (name) => { const i = D.layers.name.indexOf(name); return i < 0 ? name : SHORT[i]; };
const timeAll = T.cycles.reduce((a, b) => a + b, 0) || 1, energyAll = T.pj.reduce((a, b) => a + b, 0) || 1;
function twin(all) {
  const box = $("twin"), share = (i) => Math.max(T.cycles[i] / timeAll, T.pj[i] / energyAll);
  const layers = T.name.length - 1; /* the last row is leakage */
  let order = [...Array(layers).keys()];
  if (!all) order = order.sort((a, b) => share(b) - share(a)).slice(0, layers <= 12 ? 12 : 11);
  const rows = [[T.name[layers], 0, T.pj[layers], "var(--leak)"], ...order.map((i) => [T.name[i], T.cycles[i], T.pj[i], "var(--energy)"])];
  const left = [...Array(layers).keys()].filter((i) => !order.includes(i));
  if (left.length) rows.push([`${left.length} other layers`, left.reduce((a, i) => a + T.cycles[i], 0), left.reduce((a, i) => a + T.pj[i], 0), "var(--energy)"]);
  const most = Math.max(...rows.map((r) => Math.max(r[1] / timeAll, r[2] / energyAll)));
  box.textContent = "";
  for (const text of ["", "time", "", "energy", ""]) element("span", box, text, { class: "head" });
  for (const [name, c, pj, fill] of rows) {
    element("span", box, shortName(name), { title: name });
    track(box, name, [[`${cycles(c)}, ${percent(c / timeAll)} of the layers' time`, c / timeAll, "var(--time)"]], most);
    element("span", box, c ? percent(c / timeAll) : "", { class: "figure" });
    track(box, name, [[`${number(pj / 1e6)} uJ, ${percent(pj / energyAll)} of the energy`, pj / energyAll, fill]], most);
    element("span", box, pj ? percent(pj / energyAll) : "", { class: "figure" });
  }
  box.dataset.rows = rows.length;
}
$("twin-note").textContent = "Shares of the layers' cycles and of all energy, on one scale; leakage of the chip is a row of its own.";
$("twin-all").onclick = () => {
  const open = $("twin-all").getAttribute("aria-expanded") !== "true";
  $("twin-all").setAttribute("aria-expanded", open);
  $("twin-all").textContent = open ? "the largest only" : "all layers in order";
  twin(open);
};
twin(false);
if (T.name.length <= 12) $("twin-all").style.display = "none";

/* timeline: rows are the groups and, where one is unfolded, its units */
const canvas = $("timeline"), axis = $("axis");
let from = 0, to = D.cycles, chosen = -1;
const open = new Set(D.timeline_units.length <= 40 ? D.groups.map((_, i) => i) : []);
const rowOf = new Int32Array(D.timeline_units.length);
let rows = [], printing = false;
function layRows() {
  rows = [];
  for (const [index, group] of D.groups.entries()) {
    const head = rows.push({ group: index }) - 1;
    for (let unit = group.first; unit < group.first + group.units; unit++) rowOf[unit] = open.has(index) ? rows.push({ unit }) - 1 : head;
  }
  const names = $("names");
  names.textContent = "";
  for (const row of rows) {
    if (row.unit !== undefined) { element("div", names, D.timeline_units[row.unit], { title: D.timeline_units[row.unit] }); continue; }
    const group = D.groups[row.group], on = open.has(row.group);
    element("button", names, `${on ? "\u25be" : "\u25b8"} ${group.name} (${group.units})`, { type: "button", "aria-expanded": on }).onclick = () => {
      if (on) open.delete(row.group); else open.add(row.group);
      layRows(); draw();
      names.children[rows.findIndex((r) => r.group === row.group)].focus();
    };
  }
}
$("fold").onclick = () => { open.clear(); layRows(); draw(); };
$("unfold").onclick = () => { D.groups.forEach((_, i) => open.add(i)); layRows(); draw(); };
$("timeline-note").textContent = D.timeline_note;
for (const [index, name] of D.layers.name.entries()) element("option", $("layer-filter"), SHORT[index], { value: index, title: name });
legend("layer-legend", SHORT.map((name, i) => [name, layerFill(i)]));

function exactHere() { return to <= D.exact_until; }
function draw() {
  const scale = devicePixelRatio || 1, width = canvas.clientWidth, frame = $("frame");
  const height = printing ? Math.min(rows.length * ROW, 15000) : Math.min(rows.length * ROW, 440), above = printing ? 0 : frame.scrollTop;
  canvas.style.height = height + "px";
  canvas.width = width * scale;
  canvas.height = height * scale;
  const g = canvas.getContext("2d");
  g.scale(scale, scale);
  g.translate(0, -above);
  g.fillStyle = style("--stripe");
  for (let row = 0; row < rows.length; row += 2) g.fillRect(0, row * ROW, width, ROW);
  const perCycle = width / (to - from);
  let drawn = 0;
  const hidden = (row) => row * ROW + ROW < above || row * ROW > above + height;
  if (exactHere()) {
    for (let i = 0; i < E.unit.length; i++) {
      const start = E.start[i], end = start + E.length[i];
      if (end < from || start > to || (chosen >= 0 && E.layer[i] !== chosen)) continue;
      drawn++;
      if (hidden(rowOf[E.unit[i]])) continue;
      g.fillStyle = layerInk(g, E.layer[i] === 65535 ? -1 : E.layer[i]);
      g.fillRect((start - from) * perCycle, rowOf[E.unit[i]] * ROW + 2, Math.max(0.6, (end - start) * perCycle), ROW - 4);
    }
  } else {
    const folded = new Map();
    for (let i = 0; i < B.unit.length; i++) {
      const start = B.bin[i] * D.bin_width, end = start + D.bin_width;
      if (end < from || start > to || (chosen >= 0 && B.layer[i] !== chosen)) continue;
      drawn++;
      const row = rowOf[B.unit[i]];
      if (hidden(row)) continue;
      if (rows[row].unit === undefined) {
        const key = (row * 4096 + B.bin[i]) * 65536 + B.layer[i];
        folded.set(key, (folded.get(key) ?? 0) + B.fill[i]);
        continue;
      }
      g.globalAlpha = 0.3 + (0.7 * B.fill[i]) / 255;
      g.fillStyle = layerInk(g, B.layer[i]);
      g.fillRect((start - from) * perCycle, row * ROW + 2, Math.max(0.6, D.bin_width * perCycle), ROW - 4);
    }
    /* of a folded tile: height is the share of its units that work, the layer that works most below the others */
    const filled = new Map();
    for (const [key, fill] of [...folded].sort((a, b) => b[1] - a[1])) {
      const layer = key % 65536, place = (key - layer) / 65536, bin = place % 4096, row = (place - bin) / 4096;
      const share = Math.min(1, fill / 255 / D.groups[rows[row].group].units), below = filled.get(place) ?? 0;
      const tall = Math.max(1, (ROW - 3) * share), bottom = row * ROW + ROW - 1 - below;
      filled.set(place, Math.min(ROW - 3, below + tall));
      g.globalAlpha = 1;
      g.fillStyle = layerInk(g, layer);
      g.fillRect((bin * D.bin_width - from) * perCycle, bottom - tall, Math.max(0.6, D.bin_width * perCycle), tall);
    }
    g.globalAlpha = 1;
  }
  $("range").textContent = `${cycles(to - from)} shown (${Math.round(from).toLocaleString("en")} to ${Math.round(to).toLocaleString("en")}), ${exactHere() ? "every event" : "busy share of " + cycles(D.bin_width)}`;
  canvas.dataset.drawn = drawn;
  canvas.dataset.from = from;
  canvas.dataset.to = to;
  drawAxis(width, scale);
}
function drawAxis(width, scale) {
  axis.style.width = width + "px";
  axis.width = width * scale;
  axis.height = 20 * scale;
  const g = axis.getContext("2d");
  g.scale(scale, scale);
  g.font = "11px system-ui, sans-serif";
  g.fillStyle = style("--soft");
  const rough = (to - from) / Math.max(2, width / 130), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((m) => m * power >= rough) * power;
  for (let c = Math.ceil(from / step) * step; c <= to; c += step) {
    const x = ((c - from) / (to - from)) * width;
    g.fillRect(x, 14, 1, 6);
    if (x < width - 60) g.fillText(Math.round(c).toLocaleString("en"), x + 3, 12);
  }
}
function zoom(factor, centre = (from + to) / 2) {
  const span = Math.min(D.cycles, Math.max(8, (to - from) * factor));
  const share = (centre - from) / (to - from);
  from = Math.min(Math.max(0, centre - share * span), D.cycles - span);
  to = from + span;
  draw();
}
function under(event) {
  const box = canvas.getBoundingClientRect();
  return { cycle: from + ((event.clientX - box.left) / box.width) * (to - from), row: Math.floor((event.clientY - box.top + $("frame").scrollTop) / ROW) };
}
$("zoom-in").onclick = () => zoom(0.5);
$("zoom-out").onclick = () => zoom(2);
$("zoom-all").onclick = () => { from = 0; to = D.cycles; draw(); };
$("zoom-image").onclick = () => { from = D.first_image[0]; to = Math.max(from + 8, D.first_image[1]); draw(); };
$("layer-filter").onchange = (event) => { chosen = Number(event.target.value); draw(); };
canvas.addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  zoom(event.deltaY > 0 ? 1.25 : 0.8, under(event).cycle);
}, { passive: false });
let held = null;
canvas.addEventListener("pointerdown", (event) => { held = { x: event.clientX, from, to }; canvas.setPointerCapture(event.pointerId); canvas.style.cursor = "grabbing"; });
canvas.addEventListener("pointerup", () => { held = null; canvas.style.cursor = "grab"; });
canvas.addEventListener("pointermove", (event) => {
  if (held) {
    const span = held.to - held.from, moved = ((held.x - event.clientX) / canvas.clientWidth) * span;
    from = Math.min(Math.max(0, held.from + moved), D.cycles - span);
    to = from + span;
    tip.style.display = "none";
    draw();
    return;
  }
  const { cycle, row } = under(event), at = rows[row];
  if (!at) return;
  const group = at.unit === undefined ? D.groups[at.group] : null, unit = group ? group.name : D.timeline_units[at.unit];
  const lines = [unit];
  if (exactHere()) {
    for (let i = 0; i < E.unit.length; i++) {
      if (rowOf[E.unit[i]] === row && E.start[i] <= cycle && cycle < E.start[i] + E.length[i] && (chosen < 0 || E.layer[i] === chosen)) {
        lines.push(`${D.kinds[E.kind[i]]} of ${D.layers.name[E.layer[i]] ?? "programming"}, image ${E.image[i] === 65535 ? "-" : E.image[i]}, operation ${E.op[i]}`, `${E.start[i].toLocaleString("en")} to ${(E.start[i] + E.length[i]).toLocaleString("en")} = ${cycles(E.length[i])}`);
        break;
      }
    }
  } else {
    for (let i = 0; i < B.unit.length; i++) {
      if (lines.length < 8 && rowOf[B.unit[i]] === row && B.bin[i] === Math.floor(cycle / D.bin_width)) lines.push(`${D.layers.name[B.layer[i]]}: busy ${percent(B.fill[i] / 255)}`);
    }
  }
  show(event, lines.length > 1 ? lines.join("\n") : unit + "\nidle");
});
canvas.addEventListener("pointerleave", () => { tip.style.display = "none"; });
function move(share) {
  const span = to - from;
  from = Math.min(Math.max(0, from + share * span), D.cycles - span);
  to = from + span;
  draw();
}
const KEYS = { ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2), "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), Home: () => $("zoom-all").click() };
canvas.addEventListener("keydown", (event) => {
  if (!KEYS[event.key] || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  KEYS[event.key]();
});
addEventListener("resize", draw);
$("frame").addEventListener("scroll", draw);
addEventListener("beforeprint", () => { printing = true; draw(); });
addEventListener("afterprint", () => { printing = false; draw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { draw(); charts(); });
layRows();



/* critical path */
const P = D.path.segments, walked = P.reduce((a, x) => a + x[3], 0) || 1;
$("path-note").textContent = D.path.note || `A chain of events without a gap, walked back from the image's last event: ${cycles(walked)} = ${time(walked)}. Grey: nothing ended in between, the chain waits.`;
const along = new Map();
for (const [layer, kind, start, length] of P) {
  const name = D.layers.name[layer] ?? "programming", what = kind < 0 ? "waiting" : D.kinds[kind];
  const piece = element("i", $("path"));
  piece.style.width = (100 * length) / walked + "%";
  piece.style.background = kind < 0 ? WAITING : layerFill(layer);
  hint(piece, `${name}: ${what}\n${cycles(length)}, from ${start.toLocaleString("en")}`);
  const found = along.get(layer) ?? along.set(layer, { name, parts: {}, all: 0, layer }).get(layer);
  found.parts[what] = (found.parts[what] ?? 0) + length;
  found.all += length;
}
const steps = [...along.values()].sort((a, b) => b.all - a.all).slice(0, 10);
for (const step of steps) bar($("path-list"), step.name, Object.entries(step.parts).map(([what, c]) => [`${what}: ${cycles(c)}`, c, what === "waiting" ? WAITING : layerFill(step.layer)]), steps[0].all, percent(step.all / walked));

/* roofline and power, drawn as SVG */
function svg(tag, parent, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}
const W = 560, H = 270, LEFT = 52, BOTTOM = 34, TOP = 12, RIGHT = 14;
function charts() { roofChart(); powerChart(); }
function roofChart() {
  const R = D.roofline, box = $("roof");
  box.textContent = "";
  if (!R.points.length) { $("roof-note").textContent = "No layer runs on macros and moves data through the global buffer."; return; }
  const xs = R.points.map((p) => p.macs_per_bit), ys = R.points.map((p) => p.macs_per_cycle), ridge = R.chip / R.bits_per_cycle;
  const lowX = Math.log10(Math.min(...xs, ridge) / 2), highX = Math.log10(Math.max(...xs, ridge) * 2), lowY = Math.log10(Math.min(...ys) / 2), highY = Math.log10(R.chip * 2);
  const x = (v) => LEFT + ((Math.log10(v) - lowX) / (highX - lowX)) * (W - LEFT - RIGHT), y = (v) => H - BOTTOM - ((Math.log10(v) - lowY) / (highY - lowY)) * (H - BOTTOM - TOP);
  const bound = R.points.filter((p) => p.macs_per_bit * R.bits_per_cycle < p.roof).length;
  $("roof-note").textContent = `A point is a layer; right: more multiply-accumulates (MACs) for each bit of the global buffer; up: faster. Lines: all macros of the chip, those that hold weights, and the buffer's bandwidth. ${bound ? `The buffer bounds ${bound} of ${R.points.length} layers.` : "No layer is bound by the buffer: macros are."}`;
  const g = svg("svg", box, { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "roofline: MACs a cycle of every layer over MACs a bit" });
  for (let e = Math.ceil(lowX); e <= highX; e++) { svg("line", g, { x1: x(10 ** e), x2: x(10 ** e), y1: TOP, y2: H - BOTTOM, stroke: "var(--line)" }); svg("text", g, { x: x(10 ** e), y: H - BOTTOM + 14, "text-anchor": "middle" }, number(10 ** e)); }
  for (let e = Math.ceil(lowY); e <= highY; e++) { svg("line", g, { x1: LEFT, x2: W - RIGHT, y1: y(10 ** e), y2: y(10 ** e), stroke: "var(--line)" }); svg("text", g, { x: LEFT - 5, y: y(10 ** e) + 4, "text-anchor": "end" }, number(10 ** e)); }
  svg("text", g, { x: (W + LEFT) / 2, y: H - 4, "text-anchor": "middle" }, "MACs a bit of the global buffer");
  svg("text", g, { x: 12, y: (H - BOTTOM) / 2, transform: `rotate(-90 12 ${(H - BOTTOM) / 2})`, "text-anchor": "middle" }, "MACs a cycle");
  const startX = Math.max(10 ** lowX, 10 ** lowY / R.bits_per_cycle);
  svg("polyline", g, { points: `${x(startX)},${y(startX * R.bits_per_cycle)} ${x(ridge)},${y(R.chip)} ${W - RIGHT},${y(R.chip)}`, fill: "none", stroke: "var(--ink)", "stroke-width": 1.6 });
  svg("line", g, { x1: x(R.used / R.bits_per_cycle > 10 ** lowX ? R.used / R.bits_per_cycle : 10 ** lowX), x2: W - RIGHT, y1: y(R.used), y2: y(R.used), stroke: "var(--ink)", "stroke-dasharray": "5 4" });
  svg("text", g, { x: W - RIGHT - 2, y: y(R.chip) - 4, "text-anchor": "end" }, `whole chip: ${number(R.chip, 3)}`);
  svg("text", g, { x: W - RIGHT - 2, y: y(R.used) - 4, "text-anchor": "end" }, `macros that hold weights: ${number(R.used, 3)}`);
  for (const p of R.points) {
    const dot = svg("circle", g, { cx: x(p.macs_per_bit), cy: y(p.macs_per_cycle), r: 5, fill: colour(p.number), stroke: "var(--ink)", "stroke-width": 0.7 });
    hint(dot, `${p.layer}\n${number(p.macs_per_cycle)} MACs a cycle, its macros could do ${number(p.roof)}\n${number(p.macs_per_bit)} MACs a bit`);
  }
}
function powerChart() {
  const mw = D.power.mw, box = $("power");
  box.textContent = "";
  if (!mw.length) { $("power-note").textContent = D.power.note; return; }
  const leak = D.power.leakage_mw, top = mw.map((v, i) => v + leak[i]), most = Math.max(...top) || 1, x = (i) => LEFT + (i / mw.length) * (W - LEFT - RIGHT), y = (v) => H - BOTTOM - (v / most) * (H - BOTTOM - TOP);
  $("power-note").textContent = `${D.power.note} Windows of ${cycles(D.power.width)}; leakage is violet. Energies of components are spread over the events that draw them, as report --power does; --power WIDTH beside --html chooses the windows.`;
  const g = svg("svg", box, { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "power over time" });
  for (let i = 0; i <= 4; i++) { const v = (most * i) / 4; svg("line", g, { x1: LEFT, x2: W - RIGHT, y1: y(v), y2: y(v), stroke: "var(--line)" }); svg("text", g, { x: LEFT - 5, y: y(v) + 4, "text-anchor": "end" }, number(v, 3)); }
  for (let i = 0; i <= 4; i++) svg("text", g, { x: LEFT + (i / 4) * (W - LEFT - RIGHT), y: H - BOTTOM + 14, "text-anchor": i === 4 ? "end" : i ? "middle" : "start" }, time((Math.min(mw.length * D.power.width, D.cycles) * i) / 4));
  svg("text", g, { x: 12, y: (H - BOTTOM) / 2, transform: `rotate(-90 12 ${(H - BOTTOM) / 2})`, "text-anchor": "middle" }, "mW");
  for (const [values, fill] of [[top, "var(--energy)"], [leak, "var(--leak)"]]) {
    let d = `M${x(0)} ${y(0)}`;
    for (let i = 0; i < values.length; i++) d += `V${y(values[i]).toFixed(1)}H${x(i + 1).toFixed(1)}`;
    svg("path", g, { d: `${d}V${y(0)}Z`, fill });
  }
}
charts();

/* energy */
const sums = D.energy.pj.map((row) => row.reduce((a, b) => a + b, 0)), most = Math.max(...sums.slice(0, -1)) || sums.at(-1);
const wide = Object.entries(s.interval_by).slice(0, 3).map(([name, share]) => `${name} ${percent(share)}`).join(", ");
const unsure = wide ? `; the 90 % interval comes from ${wide}` : "";
$("energy-note").textContent = `${number(s.energy_uj)} uJ${ends(s.energy_uj_low, s.energy_uj_high)} in all images together${unsure}; bars to the scale of the costliest layer, leakage to its own.`;
for (const [i, name] of D.energy.row.entries()) {
  const row = D.energy.pj[i], total = row.reduce((a, b) => a + b, 0);
  if (!(total > 0)) continue;
  bar($("energy"), name, row.map((pj, c) => [`${D.energy.component[c]}: ${number(pj / 1e3)} nJ, ${percent(pj / total)}`, pj, layerFill(c)]), Math.max(most, total), number(total / 1e6) + " uJ").dataset.row = name;
}
const used = D.energy.component.map((name, c) => [name, layerFill(c), D.energy.pj.reduce((a, row) => a + row[c], 0)]).filter((c) => c[2] > 0);
legend("component-legend", used);
const areas = D.components.reduce((a, c) => a + c.mm2, 0);
const dearest = Math.max(...D.components.map((c) => c.uJ));
for (const c of [...D.components].sort((a, b) => b.uJ - a.uJ)) {
  if (!(c.uJ > 0 || c.mm2 > 0)) continue;
  bar($("components"), c.component, [[`${number(c.uJ)} uJ${ends(c["uJ low"], c["uJ high"])}, ${percent(c.energy)}; ${number(c["pJ/count"])} pJ a count, ${number(c.instances)} instances`, c.uJ, "var(--time)"]], dearest, `${percent(c.energy)} / ${areas ? percent(c.mm2 / areas) : "-"}`);
}

/* waiting */
const causes = D.causes.filter((c) => c.name !== "done" || c.cycles > 0);
const longest = Math.max(...causes.map((c) => c.cycles), 1);
for (const c of causes) bar($("causes"), c.name, [[`${cycles(c.cycles)} of all units`, c.cycles, CAUSE_COLOURS[c.name] ?? "#999"]], longest, percent(c.share));
function unitBars(all) {
  $("units").textContent = "";
  const rows = all ? D.units : D.units.slice(0, 20);
  for (const u of rows) {
    const parts = Object.keys(CAUSE_COLOURS).map((name) => [`${name}: ${percent(u[name])}`, u[name], CAUSE_COLOURS[name]]);
    bar($("units"), u.unit, parts, 1, percent(u.busy));
  }
  $("units-note").textContent = `Share of the run's cycles, busiest first; ${rows.length} of ${D.unit_count} units. Right: busy.`;
}
$("all-units").onclick = () => {
  const open = $("all-units").getAttribute("aria-expanded") !== "true";
  $("all-units").setAttribute("aria-expanded", open);
  $("all-units").textContent = open ? "show the busiest units" : "show all units";
  unitBars(open);
};
unitBars(false);
if (D.units.length <= 20) $("all-units").style.display = "none";
legend("cause-legend", Object.entries(CAUSE_COLOURS));

/* layers */
if (D.layer_rows.length) sortable($("layers"), $("layers-controls"), D.layer_rows, ["energy", "utilization"], "layers");

/* macros */
$("map-note").textContent = D.map.length ? `Colour: share of a macro's cells that hold weights (light 0, dark blue 100 %). ${D.map_note}` : "No macro is used.";
for (const tile of D.map) {
  const box = element("div", $("map"), null, { class: "tilemap" });
  element("small", box, tile.name);
  const grid = element("div", box);
  grid.style.gridTemplateColumns = `repeat(${Math.max(1, Math.ceil(Math.sqrt(tile.macros.length)))}, 15px)`;
  for (const macro of tile.macros) {
    const cell = element("span", grid, null, { class: "macro" });
    cell.style.background = `hsl(214 62% ${97 - 62 * macro.utilization}%)`;
    hint(cell, `macro ${macro.macro}: ${percent(macro.utilization)}, ${number(macro.cells)} cells`);
  }
}

/* checks, chip */
const facts = [["accuracy", s.accuracy === null ? "no labels given" : percent(s.accuracy), true], ...D.checks.map((c) => [c.name, c.holds ? "holds" : "does not hold", c.holds])];
for (const [name, text, fine] of facts) {
  const row = element("div", $("checks"));
  element("span", row, name + ": ");
  element("span", row, text, { class: fine ? "yes" : "no" });
}
const sources = element("ul", $("sources"), null, { class: "plain" });
for (const [where, source] of D.sources) element("li", sources, `${where}: ${source}`);
$("arch").textContent = JSON.stringify(D.arch, null, 2);
$("provenance").textContent = JSON.stringify(D.provenance, null, 2);
draw();
document.body.dataset.ready = "yes";
