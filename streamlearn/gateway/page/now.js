// All models, the odd ones first.

import { sparkline } from "./draw.js";
import { ago, h } from "./dom.js";
import { oddness, state } from "./store.js";

const SHOWN = 100; // rows at once; the others are found by name

export function nowView(main) {
  const body = h("tbody");
  const filter = h("input", { type: "search", placeholder: "name", "aria-label": "Filter by name" });
  const count = h("span");
  main.append(
    h("h1", {}, "Now"),
    h("p", {}, filter, " ", count),
    h("div", { class: "wide" },
      h("table", {},
        h("thead", {}, h("tr", {},
          ...["Model", "State", "Score", "Last alarm"].map((text) => h("th", { scope: "col" }, text)),
          ...["Kind", "Samples", "Last sample"].map((text) => h("th", { scope: "col", class: "optional" }, text)))),
        body)),
  );
  const rows = new Map();

  function row(model) {
    const cells = {
      state: h("td"), spark: h("canvas", { class: "spark", role: "img" }), alarm: h("td"),
      kind: h("td", { class: "optional" }), samples: h("td", { class: "number optional" }), seen: h("td", { class: "optional" }),
    };
    const link = h("a", { href: `#/model/${encodeURIComponent(model.name)}` }, model.name);
    const element = h("tr", { "data-model": model.name },
      h("td", {}, link), cells.state, h("td", {}, cells.spark), cells.alarm, cells.kind, cells.samples, cells.seen);
    rows.set(model.name, { element, cells });
    return rows.get(model.name);
  }

  function update() {
    const wanted = [...state.models.values()].filter((model) => model.name.includes(filter.value));
    const order = wanted.map((model) => [oddness(model), model]).sort((a, b) => Math.round(10 * (b[0] - a[0])) || a[1].name.localeCompare(b[1].name));
    const shown = order.slice(0, SHOWN).map(([, model]) => model);
    count.textContent = `${wanted.length} models${wanted.length > SHOWN ? `, the ${SHOWN} oddest` : ""}`;
    const names = new Set(shown.map((model) => model.name));
    for (const [name, { element }] of rows) {
      if (!names.has(name)) {
        element.remove();
        rows.delete(name);
      }
    }
    shown.forEach((model, place) => {
      const { element, cells } = rows.get(model.name) ?? row(model);
      if (body.children[place] !== element) body.insertBefore(element, body.children[place] ?? null);
      fill(model, element, cells);
    });
  }
  filter.addEventListener("input", update);
  return update;
}

function fill(model, element, cells) {
  element.classList.toggle("alarm", model.on);
  cells.state.replaceChildren(badge(model));
  const alarm = model.lastAlarm;
  cells.alarm.textContent = alarm ? `${ago(alarm.at)}: ${alarmText(alarm, model.spec?.channels)}` : "–";
  cells.kind.textContent = model.kind ?? "";
  cells.samples.textContent = (model.samples ?? 0).toLocaleString("en");
  cells.seen.textContent = ago(model.seen);
  if (element.drawn === model.updates) return;
  element.drawn = model.updates;
  const last = model.scores[model.scores.length - 1];
  cells.spark.setAttribute("aria-label", last === undefined ? "no score yet" : `last score ${last.toFixed(3)}`);
  sparkline(cells.spark, model.scores);
}

export function badge(model) {
  if (model.quarantined) return h("span", { class: "badge alarm" }, "set aside");
  if (model.on) return h("span", { class: "badge alarm" }, "alarm");
  if (model.silent) return h("span", { class: "badge alarm" }, "silent");
  if (model.paused) return h("span", { class: "badge soft" }, "paused");
  return h("span", { class: "badge calm" }, "ok");
}

/** What an alarm is about: its cause, and the channels that contributed most. */
export function alarmText(alarm, channels) {
  if (alarm.fault) return alarm.fault;
  if (alarm.cause === "silent") return "no samples";
  const shares = (alarm.contribution ?? []).map((share, i) => [share ?? 0, channels?.[i] ?? `channel ${i}`]);
  const most = shares.sort((a, b) => b[0] - a[0]).filter(([share], i) => share > 0.2 || !i).slice(0, 3);
  const names = most.map(([share, name]) => `${name} ${Math.round(100 * share)} %`).join(", ");
  return alarm.cause === "score" ? names : `${alarm.cause} ${names}`;
}
