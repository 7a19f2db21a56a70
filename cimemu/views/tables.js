"use strict";
/* Tables that are searched, sorted and copied; used by the page of a run and by that of a comparison. */
const number = (v, digits = 4) => v === null || v === undefined || Number.isNaN(v) ? "" : Number.isInteger(v) ? v.toLocaleString("en") : Number(v.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6 });
const percent = (v) => (v === null || v === undefined ? "" : (100 * v).toFixed(Math.abs(v) < 0.1 ? 2 : 1) + " %");
function element(tag, parent, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.appendChild(made);
  return made;
}
function sortable(table, controls, rows, shares, what) {
  let sorted = null, rising = true, wanted = "";
  const columns = Object.keys(rows[0] ?? {});
  const label = element("label", controls, `Search ${what} `);
  const field = element("input", label, null, { type: "search" });
  const copy = element("button", controls, "copy as CSV", { type: "button" });
  const said = element("span", controls, "", { role: "status", class: "note", style: "margin:0" });
  const chosen = () => {
    const kept = rows.filter((row) => Object.values(row).some((v) => typeof v === "string" && v.toLowerCase().includes(wanted)) || !wanted);
    if (sorted) kept.sort((a, b) => (rising ? 1 : -1) * (typeof a[sorted] === "string" ? a[sorted].localeCompare(b[sorted]) : (a[sorted] ?? -1) - (b[sorted] ?? -1)));
    return kept;
  };
  const head = element("tr", element("thead", table)), body = element("tbody", table);
  for (const name of columns) {
    const text = typeof rows[0][name] === "string";
    const cell = element("th", head, null, text ? { class: "text", scope: "col" } : { scope: "col" });
    element("button", cell, name, { type: "button" }).onclick = () => {
      rising = sorted === name ? !rising : text;
      sorted = name;
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", rising ? "ascending" : "descending");
      fill();
    };
  }
  const fill = () => {
    body.textContent = "";
    const kept = chosen();
    for (const row of kept) {
      const line = element("tr", body);
      for (const name of columns) {
        const value = row[name], text = typeof value === "string";
        element("td", line, text ? value : shares.includes(name) ? percent(value) : number(value), text ? { class: "text", title: value } : {});
      }
    }
    said.textContent = wanted ? `${kept.length} of ${rows.length} rows` : "";
  };
  field.oninput = () => { wanted = field.value.trim().toLowerCase(); fill(); };
  copy.onclick = async () => {
    const quote = (v) => (v === null || v === undefined ? "" : /[",\n]/.test(String(v)) ? `"${String(v).replaceAll('"', '""')}"` : String(v));
    const csv = [columns, ...chosen().map((row) => columns.map((name) => row[name]))].map((line) => line.map(quote).join(",")).join("\n") + "\n";
    table.dataset.csv = csv;
    try { await navigator.clipboard.writeText(csv); } catch {
      const area = element("textarea", document.body, csv); area.select(); document.execCommand("copy"); area.remove();
    }
    said.textContent = "copied";
  };
  fill();
}
