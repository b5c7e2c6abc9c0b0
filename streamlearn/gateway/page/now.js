// All models, the odd ones first.

import { sparkline } from "./draw.js";
import { ago, h, put } from "./dom.js";
import { oddness, state } from "./store.js";

const SHOWN = 100; // rows at once; the others are found by name
const DRAWING = 5; // milliseconds of a frame; what is left is drawn in the next one

export function nowView(main) {
  const body = h("tbody");
  const filter = h("input", { type: "search", placeholder: "name", "aria-label": "Filter by name" });
  const count = h("span");
  main.append(
    h("h1", {}, "Now"),
    h("p", {}, filter, " ", count),
    h("div", { class: "wide" },
      h("table", { class: "now" },
        h("thead", {}, h("tr", {},
          ...["Model", "State", "Score", "Last alarm"].map((text) => h("th", { scope: "col" }, text)),
          ...["Kind", "Samples", "Last sample"].map((text) => h("th", { scope: "col", class: "optional" }, text)))),
        body)),
  );
  const rows = new Map();
  const onScreen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) target.onScreen = isIntersecting;
  }, { rootMargin: "100px" });

  function row(model) {
    const cells = {
      state: h("td"), spark: h("canvas", { class: "spark", role: "img" }), alarm: h("td", { class: "alarm-text" }),
      kind: h("td", { class: "optional" }), samples: h("td", { class: "number optional" }), seen: h("td", { class: "optional" }),
    };
    const link = h("a", { href: `#/model/${encodeURIComponent(model.name)}` }, model.name);
    const element = h("tr", { "data-model": model.name },
      h("td", {}, link), cells.state, h("td", {}, cells.spark), cells.alarm, cells.kind, cells.samples, cells.seen);
    onScreen.observe(element);
    rows.set(model.name, { model, element, cells, drawn: -1 });
    return rows.get(model.name);
  }

  /** Draw the sparklines that changed, after all texts are written: the browser lays the page out once. */
  function draw() {
    const end = performance.now() + DRAWING;
    for (const each of rows.values()) {
      const { model, element, cells } = each;
      if (!element.onScreen || each.drawn === model.updates) continue;
      if (performance.now() > end) {
        requestAnimationFrame(draw);
        return;
      }
      each.drawn = model.updates;
      const last = model.scores[model.scores.length - 1];
      cells.spark.setAttribute("aria-label", last === undefined ? "no score yet" : `last score ${last.toFixed(3)}`);
      sparkline(cells.spark, model.scores);
    }
  }

  function update() {
    const wanted = [...state.models.values()].filter((model) => model.name.includes(filter.value));
    const order = wanted.map((model) => [oddness(model), model]).sort((a, b) => b[0] - a[0] || a[1].name.localeCompare(b[1].name));
    const shown = order.slice(0, SHOWN).map(([, model]) => model);
    put(count, `${wanted.length} models${wanted.length > SHOWN ? `, the ${SHOWN} oddest` : ""}`);
    const names = new Set(shown.map((model) => model.name));
    for (const [name, { element }] of rows) {
      if (!names.has(name)) {
        onScreen.unobserve(element);
        element.remove();
        rows.delete(name);
      }
    }
    shown.forEach((model, place) => {
      const each = rows.get(model.name) ?? row(model);
      each.model = model;
      if (body.children[place] !== each.element) body.insertBefore(each.element, body.children[place] ?? null);
      fill(model, each.element, each.cells);
    });
    requestAnimationFrame(draw);
  }
  filter.addEventListener("input", update);
  return update;
}

function fill(model, element, cells) {
  element.classList.toggle("alarm", model.on);
  const mark = badge(model);
  put(cells.state, mark, mark.textContent);
  const alarm = model.lastAlarm;
  put(cells.alarm, alarm ? `${ago(alarm.at)}: ${alarmText(alarm)}` : "–");
  put(cells.kind, model.kind ?? "");
  put(cells.samples, (model.samples ?? 0).toLocaleString("en"));
  put(cells.seen, ago(model.seen));
}

export function badge(model) {
  if (model.quarantined) return h("span", { class: "badge alarm" }, "set aside");
  if (model.on) return h("span", { class: "badge alarm" }, "alarm");
  if (model.silent) return h("span", { class: "badge alarm" }, "silent");
  if (model.paused) return h("span", { class: "badge soft" }, "paused");
  return h("span", { class: "badge calm" }, "ok");
}

/** What an alarm is about: its cause, and the channels that contributed most. */
export function alarmText(alarm) {
  if (alarm.fault) return alarm.fault;
  if (alarm.cause === "silent") return "no samples";
  const unit = (number, label) => label || `unit ${number}`;
  const from = unit(alarm.from_unit, alarm.from_label), to = unit(alarm.to_unit, alarm.to_label);
  if (alarm.cause === "transition") return `rare transition ${from} → ${to}`;
  if (alarm.cause === "dwell") return `in ${to} for ${alarm.samples} samples, usually ${Math.round(alarm.usual)}`;
  if (alarm.cause === "cycle") return `no return to ${to} for ${alarm.samples} samples, usually ${Math.round(alarm.usual)}`;
  const shares = (alarm.contribution ?? []).map((share, i) => [share ?? 0, alarm.channels?.[i] ?? `channel ${i}`]);
  const most = shares.sort((a, b) => b[0] - a[0]).filter(([share], i) => share > 0.2 || !i).slice(0, 3);
  const names = most.map(([share, name]) => `${name} ${Math.round(100 * share)} %`).join(", ");
  return alarm.cause === "score" ? names : `${alarm.cause} ${names}`;
}
