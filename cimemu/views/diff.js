"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
document.title = `${D.after} against ${D.before}`;
$("title").textContent = `${D.after} against ${D.before}`;
$("subtitle").textContent = `before: ${D.before}; after: ${D.after}; cimemu ${D.version}`;
for (const { question, answer, detail } of D.answers) {
  const box = element("div", $("answers"));
  element("h2", box, question);
  element("b", box, answer);
  element("p", box, detail);
}
const plain = (rows) => rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, v]) => [key, v !== null && typeof v === "object" ? JSON.stringify(v) : v])));
const signed = (v) => (v === null || v === undefined ? "" : v >= 9 ? `x ${number(1 + v, 3)}` : (v > 0 ? "+" : "") + (100 * v).toFixed(Math.abs(v) < 1 ? 1 : 0) + " %");
$("arch-note").textContent = D.arch.length ? "" : "Nothing: both runs are of one chip.";
if (D.arch.length) sortable($("arch"), element("div", $("arch-note").parentNode, null, { class: "controls" }), plain(D.arch), [], "keys");
/* a pair of bars: before above after */
function pair(parent, before, after, most, fill) {
  const box = element("span", parent, null, { style: "display:block" });
  for (const [value, opacity] of [[before, 0.45], [after, 1]]) {
    const bar = element("span", box, null, { class: "track", style: "height:7px;margin:1px 0" }), piece = element("i", bar);
    piece.style.width = `${most ? (100 * value) / most : 0}%`;
    piece.style.background = fill;
    piece.style.opacity = opacity;
    piece.title = number(value);
  }
}
const changes = [...D.layers].sort((a, b) => Math.abs(b["cycles after"] - b["cycles before"]) - Math.abs(a["cycles after"] - a["cycles before"]) || Math.abs(b["nJ after"] - b["nJ before"]) - Math.abs(a["nJ after"] - a["nJ before"]));
const mostOf = (what) => Math.max(0, ...D.layers.flatMap((row) => [row[`${what} before`], row[`${what} after`]]));
for (const text of ["", "cycles", "", "energy", ""]) element("span", $("twin"), text, { class: "head" });
for (const row of changes.slice(0, 16)) {
  element("span", $("twin"), D.short[row.layer] ?? row.layer, { title: row.layer });
  pair($("twin"), row["cycles before"], row["cycles after"], mostOf("cycles"), "var(--time)");
  element("span", $("twin"), signed(row["cycles change"]), { class: "figure" });
  pair($("twin"), row["nJ before"], row["nJ after"], mostOf("nJ"), "var(--energy)");
  element("span", $("twin"), signed(row["nJ change"]), { class: "figure" });
}
if (!changes.length) element("p", $("twin").parentNode, "No layer differs in time or energy.");
for (const [id, key, fill] of [["components", "component", "var(--energy)"], ["stalls", "cause", "var(--time)"]]) {
  const most = Math.max(0, ...D[id].flatMap((row) => [row.before, row.after]));
  for (const row of D[id]) {
    const line = element("div", $(id), null, { class: "bar" });
    element("span", line, row[key], { title: row[key] });
    pair(line, row.before, row.after, most, fill);
    element("span", line, signed(row.change) || number(row.after));
  }
  if (!D[id].length) element("p", $(id), "Nothing differs.");
}
for (const [id, shares] of [["summary", ["change"]], ["layers", ["cycles change", "nJ change"]]]) {
  if (D[id].length) sortable($(id), $(`${id}-controls`), plain(D[id]), shares, id === "layers" ? "layers" : "figures");
  else element("p", $(`${id}-controls`), "Nothing differs.");
}
document.body.dataset.ready = "yes";
