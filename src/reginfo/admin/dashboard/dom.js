// Elements out of data.  Text only ever becomes a text node: what a phone sends is never read as HTML.

export const byId = (id) => document.getElementById(id);

/** Return an element; props are properties, or attributes where the name has a dash or is in ATTRIBUTES. */
export function h(name, props = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (key.includes("-") || ATTRIBUTES.has(key)) element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const ATTRIBUTES = new Set(["role", "scope", "for", "colspan"]);
const SVG = "http://www.w3.org/2000/svg";

/** Return an SVG element with attributes. */
export function s(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Set a text, but touch the page only where it is another one: readers are told of every touch. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Return a table whose cells keep their roles when a narrow screen shows each row as a block. */
export function table(caption, columns, rows) {
  return h("table", { role: "table", className: "stacked" },
    h("caption", { className: "hidden" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
      columns.map((column) => h("th", { role: "columnheader", scope: "col", className: column.kind ?? "" }, column.name)))),
    h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { role: "row", className: row.kind ?? "" },
      row.cells.map((cell, index) => h("td",
        { role: "cell", "data-label": columns[index].name, className: columns[index].kind ?? "" }, cell))))));
}
