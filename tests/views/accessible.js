/* Findings of the kinds that axe-core calls serious or critical: contrast, names, roles, ids, headings, keyboard, language. */
const found = [];
const visible = (node) => { const s = getComputedStyle(node), r = node.getBoundingClientRect(); return s.visibility !== "hidden" && s.display !== "none" && r.width > 0 && r.height > 0; };
const parse = (colour) => { const p = colour.match(/[\d.]+/g).map(Number); return { rgb: p.slice(0, 3), a: p[3] ?? 1 }; };
const light = ([r, g, b]) => { const f = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; }; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
const ground = (node) => { for (let n = node; n; n = n.parentElement) { const c = parse(getComputedStyle(n).backgroundColor); if (c.a === 1) return c.rgb; } return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255]; };
const where = (node) => `${node.tagName.toLowerCase()}${node.id ? "#" + node.id : ""} "${(node.textContent || "").trim().slice(0, 30)}"`;
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  if (!own || !visible(node) || node.closest("script, svg, .skip, .tip")) continue;
  const style = getComputedStyle(node), a = light(parse(style.color).rgb), b = light(ground(node));
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (contrast < (large ? 3 : 4.5)) found.push(`contrast ${contrast.toFixed(2)}: ${where(node)}`);
}
for (const text of document.querySelectorAll("svg text")) {
  const a = light(parse(getComputedStyle(text).fill).rgb), b = light(ground(text.closest("svg").parentElement));
  if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) found.push(`contrast of a picture's text: ${where(text)}`);
}
const named = (node) => (node.getAttribute("aria-label") || node.textContent || node.title || "").trim() || (node.labels && [...node.labels].some((l) => l.textContent.trim())) || (node.getAttribute("aria-labelledby") && document.getElementById(node.getAttribute("aria-labelledby")));
for (const node of document.querySelectorAll("button, a[href], input, select, textarea, summary")) if (!named(node)) found.push(`no name: ${where(node)}`);
for (const node of document.querySelectorAll("input, select")) if (!node.labels.length && !node.getAttribute("aria-label")) found.push(`no label: ${where(node)}`);
for (const node of document.querySelectorAll("canvas:not([aria-hidden=true]), svg")) if (node.getAttribute("role") !== "img" || !node.getAttribute("aria-label")) found.push(`picture without a name: ${where(node)}`);
for (const node of document.querySelectorAll("[aria-hidden=true]")) if (node.matches("[tabindex], button, a, input") || node.querySelector("[tabindex], button, a, input")) found.push(`hidden and in the order of keys: ${where(node)}`);
const ROLES = ["img", "status", "tooltip", "region"];
for (const node of document.querySelectorAll("[role]")) if (!ROLES.includes(node.getAttribute("role"))) found.push(`role ${node.getAttribute("role")}: ${where(node)}`);
const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) found.push(`id twice: ${id}`);
for (const node of document.querySelectorAll("[aria-labelledby]")) if (!document.getElementById(node.getAttribute("aria-labelledby"))) found.push(`label of nothing: ${where(node)}`);
let level = 0;
for (const node of document.querySelectorAll("h1, h2, h3, h4")) { const now = Number(node.tagName[1]); if (now > level + 2 || (now > level + 1 && now > 3)) found.push(`heading of level ${now} below ${level}: ${where(node)}`); level = now; }
if (document.querySelectorAll("h1").length !== 1) found.push("not one heading of level 1");
if (!document.documentElement.lang) found.push("no language");
if (!document.title.trim()) found.push("no title");
if (document.querySelectorAll("main").length !== 1) found.push("not one main part");
for (const node of document.querySelectorAll("*")) {
  const style = getComputedStyle(node), scrolls = /auto|scroll/.test(style.overflowY) && node.scrollHeight > node.clientHeight + 1;
  if (scrolls && visible(node) && node !== document.documentElement && node.tabIndex < 0 && !node.querySelector("button, a, [tabindex]")) found.push(`scrolls, but not by keys: ${where(node)}`);
}
for (const table of document.querySelectorAll("table")) if (table.rows.length && [...table.querySelectorAll("th")].some((cell) => !cell.scope)) found.push(`heading of a table without a scope: ${where(table)}`);
for (const list of document.querySelectorAll("ul")) if ([...list.children].some((child) => child.tagName !== "LI")) found.push(`list with something else in it: ${where(list)}`);
return found;
