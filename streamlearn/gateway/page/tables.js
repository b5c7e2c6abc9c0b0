// Tables of what the drawings show, for screen readers and for exact values.

import { h } from "./dom.js";
import { short } from "./draw.js";

/** A table that is closed at first. update(make): make() returns [columns, rows]; it is called while the table is open. */
export function table(title) {
  const body = h("div", { class: "wide" });
  const element = h("details", {}, h("summary", {}, title), body);
  let latest = null;
  const show = () => {
    if (!element.open || !latest) return;
    const [columns, rows] = latest();
    const cell = (value, i) => (i ? h("td", { class: "number" }, text(value)) : h("th", { scope: "row" }, text(value)));
    body.replaceChildren(h("table", {},
      h("thead", {}, h("tr", {}, ...columns.map((each) => h("th", { scope: "col" }, each)))),
      h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map(cell))))));
  };
  element.addEventListener("toggle", show);
  return {
    element,
    update(make) {
      latest = make;
      show();
    },
  };
}

const text = (value) => (typeof value === "string" ? value : short(value));
