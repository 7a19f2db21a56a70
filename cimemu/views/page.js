"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const tip = $("tip");
const ROW = 15;

function unpack(name) {
  const { type, data } = D.arrays[name];
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  return new { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f32: Float32Array, f64: Float64Array }[type](bytes.buffer);
}
const B = { unit: unpack("bin_unit"), layer: unpack("bin_layer"), bin: unpack("bin_bin"), fill: unpack("bin_fill") };
const E = {};
for (const name of ["unit", "layer", "kind", "image", "start", "length", "op"]) E[name] = unpack("event_" + name);

const number = (v, digits = 4) => v === null || v === undefined || Number.isNaN(v) ? "" : Number.isInteger(v) ? v.toLocaleString("en") : Number(v.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6 });
const percent = (v) => (v === null || v === undefined ? "" : (100 * v).toFixed(v < 0.1 ? 2 : 1) + " %");
const cycles = (c) => Math.round(c).toLocaleString("en") + " cycles";
const time = (c) => { const ns = c * D.clock_ns; return ns >= 1e6 ? number(ns / 1e6) + " ms" : ns >= 1e3 ? number(ns / 1e3) + " us" : number(ns) + " ns"; };
const rate = (tops) => tops >= 1 ? number(tops, 3) + " TOPS" : tops >= 1e-3 ? number(tops * 1e3, 3) + " GOPS" : number(tops * 1e6, 3) + " MOPS";
const layerColour = (i) => i < 0 ? "#777" : `hsl(${(i * 137.508) % 360} ${i % 2 ? 62 : 48}% ${i % 3 === 0 ? 46 : i % 3 === 1 ? 58 : 38}%)`;
const PALETTE = ["#3366aa", "#e08a1e", "#3c9a5f", "#c4453c", "#7b59a8", "#8a6d4b", "#d46fa6", "#6f7c8a", "#a8a63a", "#3aa6b9", "#224488", "#f2b56b", "#85c79a", "#e39089", "#b6a1d3", "#c9b299", "#eab5d2", "#b4bdc7"];
const colour = (i) => PALETTE[i % PALETTE.length];
const CAUSE_COLOURS = { busy: "#3366aa", adc: "#e08a1e", bus: "#c4453c", buffer: "#7b59a8", noc: "#d46fa6", memory: "#8a6d4b", data: "#a8a63a", programming: "#3aa6b9", done: "#e3e7ed" };

function element(tag, parent, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.appendChild(made);
  return made;
}
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
function bar(parent, name, parts, whole, right) {
  const row = element("div", parent, null, { class: "bar" });
  element("span", row, name, { title: name });
  const track = element("span", row, null, { class: "track" });
  for (const [label, value, fill] of parts) {
    if (!(value > 0)) continue;
    const piece = element("i", track);
    piece.style.width = (100 * value) / whole + "%";
    piece.style.background = fill;
    hint(piece, `${name}\n${label}`);
  }
  element("span", row, right);
  return row;
}
function legend(id, entries) {
  for (const [name, fill] of entries) {
    const item = element("span", $(id));
    const box = element("i", item);
    box.style.background = fill;
    item.appendChild(document.createTextNode(name));
  }
}

/* summary */
const s = D.summary;
document.title = `${s.workload} on ${s.arch}`;
$("title").textContent = `${s.workload} on ${s.arch}`;
$("subtitle").textContent = `${number(s.images)} images, ${s.schedule.replaceAll("_", " ")}, detail ${s.detail}, one cycle = ${number(s.clock_ns)} ns; cimemu ${D.version}; ${D.file}`;
for (const [value, label] of [
  [s.accuracy === null ? "no labels" : percent(s.accuracy), "accuracy"],
  [number(s.cycles_per_image), "cycles an image"],
  [time(s.cycles_per_image), "time an image"],
  [number(s.energy_uj_per_image, 3) + " uJ", "energy an image"],
  [rate(s.tops), "rate, 1 MAC = 2 operations"],
  [number(s.tops_per_w, 3), "TOPS/W of the whole chip, leakage included"],
  [`${number(s.macros)}: ${percent(s.utilization)}`, "macros used: share of their cells"],
  [number(s.area_mm2, 3) + " mm2", "area"],
]) {
  const tile = element("div", $("tiles"), null, { class: "tile" });
  element("b", tile, value);
  element("span", tile, label);
}
$("costliest-layer").textContent = D.headline.layer;
$("costliest-share").textContent = percent(D.headline.layer_share);
$("costliest-component").textContent = D.headline.component;
$("component-share").textContent = percent(D.headline.component_share);
$("largest-stall").textContent = D.headline.stall;
$("stall-share").textContent = percent(D.headline.stall_share);

/* timeline */
const canvas = $("timeline"), axis = $("axis");
let from = 0, to = D.cycles, chosen = -1;
$("timeline-note").textContent = D.timeline_note;
for (const unit of D.timeline_units) element("div", $("names"), unit, { title: unit });
for (const [index, name] of D.layers.name.entries()) element("option", $("layer-filter"), name, { value: index });
legend("layer-legend", D.layers.name.map((name, i) => [name, layerColour(i)]));

function exactHere() { return to <= D.exact_until; }
function draw() {
  const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = D.timeline_units.length * ROW;
  canvas.style.height = height + "px";
  canvas.width = width * scale;
  canvas.height = height * scale;
  const g = canvas.getContext("2d");
  g.scale(scale, scale);
  for (let row = 0; row < D.timeline_units.length; row += 2) { g.fillStyle = "#fafbfc"; g.fillRect(0, row * ROW, width, ROW); }
  const perCycle = width / (to - from);
  let drawn = 0;
  if (exactHere()) {
    for (let i = 0; i < E.unit.length; i++) {
      const start = E.start[i], end = start + E.length[i];
      if (end < from || start > to || (chosen >= 0 && E.layer[i] !== chosen)) continue;
      g.fillStyle = layerColour(E.layer[i]);
      g.fillRect((start - from) * perCycle, E.unit[i] * ROW + 2, Math.max(0.6, (end - start) * perCycle), ROW - 4);
      drawn++;
    }
  } else {
    for (let i = 0; i < B.unit.length; i++) {
      const start = B.bin[i] * D.bin_width, end = start + D.bin_width;
      if (end < from || start > to || (chosen >= 0 && B.layer[i] !== chosen)) continue;
      g.globalAlpha = 0.25 + (0.75 * B.fill[i]) / 255;
      g.fillStyle = layerColour(B.layer[i]);
      g.fillRect((start - from) * perCycle, B.unit[i] * ROW + 2, Math.max(0.6, D.bin_width * perCycle), ROW - 4);
      drawn++;
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
  g.fillStyle = "#5d6878";
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
  return { cycle: from + ((event.clientX - box.left) / box.width) * (to - from), row: Math.floor((event.clientY - box.top) / ROW) };
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
  const { cycle, row } = under(event), unit = D.timeline_units[row];
  const lines = [unit];
  if (exactHere()) {
    for (let i = 0; i < E.unit.length; i++) {
      if (E.unit[i] === row && E.start[i] <= cycle && cycle < E.start[i] + E.length[i] && (chosen < 0 || E.layer[i] === chosen)) {
        lines.push(`${D.kinds[E.kind[i]]} of ${D.layers.name[E.layer[i]] ?? "programming"}, image ${E.image[i] === 65535 ? "-" : E.image[i]}, operation ${E.op[i]}`, `${E.start[i].toLocaleString("en")} to ${(E.start[i] + E.length[i]).toLocaleString("en")} = ${cycles(E.length[i])}`);
        break;
      }
    }
  } else {
    for (let i = 0; i < B.unit.length; i++) {
      if (B.unit[i] === row && B.bin[i] === Math.floor(cycle / D.bin_width)) lines.push(`${D.layers.name[B.layer[i]]}: busy ${percent(B.fill[i] / 255)}`);
    }
  }
  show(event, lines.length > 1 ? lines.join("\n") : unit + "\nidle");
});
canvas.addEventListener("pointerleave", () => { tip.style.display = "none"; });
addEventListener("resize", draw);

/* energy */
const most = Math.max(...D.energy.pj.map((row) => row.reduce((a, b) => a + b, 0)));
$("energy-note").textContent = `${number(s.energy_uj)} uJ in all images together; bars to the scale of the costliest row.`;
for (const [i, name] of D.energy.row.entries()) {
  const row = D.energy.pj[i], total = row.reduce((a, b) => a + b, 0);
  if (!(total > 0)) continue;
  bar($("energy"), name, row.map((pj, c) => [`${D.energy.component[c]}: ${number(pj / 1e3)} nJ, ${percent(pj / total)}`, pj, colour(c)]), most, number(total / 1e6) + " uJ").dataset.row = name;
}
const used = D.energy.component.map((name, c) => [name, colour(c), D.energy.pj.reduce((a, row) => a + row[c], 0)]).filter((c) => c[2] > 0);
legend("component-legend", used);
const areas = D.components.reduce((a, c) => a + c.mm2, 0);
const dearest = Math.max(...D.components.map((c) => c.uJ));
for (const c of [...D.components].sort((a, b) => b.uJ - a.uJ)) {
  if (!(c.uJ > 0 || c.mm2 > 0)) continue;
  bar($("components"), c.component, [[`${number(c.uJ)} uJ, ${percent(c.energy)}; ${number(c["pJ/count"])} pJ a count, ${number(c.instances)} instances`, c.uJ, "#3366aa"]], dearest, `${percent(c.energy)} / ${areas ? percent(c.mm2 / areas) : "-"}`);
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
  $("units-note").textContent = `Share of the run's cycles, busiest first; ${rows.length} of ${D.units.length} units. Right: busy.`;
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
let sorted = null, rising = true;
function layerTable() {
  const table = $("layers");
  table.textContent = "";
  const columns = Object.keys(D.layer_rows[0] ?? {});
  const head = element("tr", element("thead", table));
  for (const name of columns) {
    const text = typeof D.layer_rows[0][name] === "string";
    element("th", head, name, text ? { class: "text" } : {}).onclick = () => { rising = sorted === name ? !rising : text; sorted = name; layerTable(); };
  }
  const rows = [...D.layer_rows];
  if (sorted) rows.sort((a, b) => (rising ? 1 : -1) * (typeof a[sorted] === "string" ? a[sorted].localeCompare(b[sorted]) : (a[sorted] ?? -1) - (b[sorted] ?? -1)));
  const body = element("tbody", table);
  for (const row of rows) {
    const line = element("tr", body);
    for (const name of columns) element("td", line, typeof row[name] === "string" ? row[name] : ["energy", "utilization"].includes(name) ? percent(row[name]) : number(row[name]), typeof row[name] === "string" ? { class: "text" } : {});
  }
}
layerTable();

/* macros */
$("map-note").textContent = D.map.length ? `Colour: share of a macro's cells that hold weights (white 0, dark blue 100 %). ${D.map_note}` : "No macro is used.";
for (const tile of D.map) {
  const box = element("div", $("map"), null, { class: "tilemap" });
  element("small", box, tile.name);
  const grid = element("div", box);
  grid.style.gridTemplateColumns = `repeat(${Math.max(1, Math.ceil(Math.sqrt(tile.macros.length)))}, 17px)`;
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
const sources = element("ul", $("sources"));
for (const [where, source] of D.sources) element("li", sources, `${where}: ${source}`);
$("arch").textContent = JSON.stringify(D.arch, null, 2);
$("provenance").textContent = JSON.stringify(D.provenance, null, 2);
draw();
document.body.dataset.ready = "yes";
