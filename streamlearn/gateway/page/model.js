// One model: what it sees, what it expects, and what can be done with it.

import { actions, alarmTable } from "./actions.js";
import { get, getShared, modelPath, post } from "./api.js";
import { csvForm } from "./csv.js";
import { at, channelColor, chart, lineColor, selectable, short } from "./draw.js";
import { ago, h } from "./dom.js";
import { badge } from "./now.js";
import { partsOf, regularly } from "./parts.js";
import { openModel, past, SHOWN, state } from "./store.js";
import { table } from "./tables.js";

const LABELLED = ["som", "competitive", "gng"]; // kinds with units that have labels
const LISTED = 20; // samples in the table

export async function modelView(main, name) {
  openModel(name);
  let description = await get(modelPath(name));
  const channels = description.spec.channels ?? Array.from({ length: description.dim }, (_, i) => `channel ${i}`);
  const facts = h("ul", { class: "facts" });
  const values = h("canvas", { class: "chart", role: "img", "aria-label": "channels over samples, with what was expected" });
  const scores = h("canvas", { class: "chart score", role: "img", "aria-label": "score over samples" });
  const ranking = h("div", { "aria-live": "polite" });
  const [begin, end] = ["first sample", "last sample"].map((text) => h("input", { "aria-label": text, placeholder: text, size: 10, inputmode: "numeric" }));
  const listed = table("The last samples as a table");
  const alarms = alarmTable(name, LABELLED.includes(description.kind), () => refresh());
  await past(get(`v1/alarms?model=${encodeURIComponent(name)}`));
  const shown = new Set(channels.slice(0, 6));
  const legend = h("div", { class: "actions", role: "group", "aria-label": "Channels shown" },
    ...channels.slice(0, 64).map((channel, i) => choice(channel, i, shown)));
  main.append(
    h("h1", {}, name), facts, actions(name, LABELLED.includes(description.kind), () => refresh()),
    h("div", { class: "actions" }, csvForm(name, description)), legend, values, scores,
    h("p", {}, h("small", {}, "Drag over the chart to see which channels contributed in a window, or give its samples: "),
      begin, " ", end, " ", h("button", { onclick: () => rank(Number(begin.value), Number(end.value)) }, "Rank")), ranking, listed.element);
  const parts = await partsOf(main, name, description, channels);
  main.append(h("h2", {}, "Alarms"), alarms.element);
  let scale = null;
  let selected = null;
  async function rank(from, to) {
    selected = [from, to];
    ranking.replaceChildren(await ranked(name, from, to, channels));
  }
  selectable(values, () => scale, rank);

  async function refresh() {
    description = await get(modelPath(name));
    Object.assign(state.models.get(name) ?? {}, { paused: description.paused, kind: description.kind });
  }

  const readQuality = regularly(name, async (seconds) => {
    const answer = await getShared(modelPath(name, "/read?what=quality"), seconds).catch(() => null);
    if (answer) description.quality = answer.parts.quality;
  });

  return () => {
    const open = state.open;
    if (open?.name !== name) return;
    readQuality();
    const model = state.models.get(name);
    facts.replaceChildren(...[
      model ? badge(model) : null, description.kind, `${(model?.samples ?? description.samples).toLocaleString("en")} samples`,
      `last sample ${ago(model?.seen)}`, parts.label?.(open.rows[open.rows.length - 1]), ...quality(description.quality),
    ].filter(Boolean).map((each) => h("li", {}, each)));
    const rows = open.rows.slice(-SHOWN);
    const numbers = open.numbers.slice(-SHOWN);
    const marks = open.alarms.map((each) => [each.first, each.last]);
    const column = (output, i) => rows.map((row) => at(row[output], i));
    const lines = [];
    const bands = [];
    channels.forEach((channel, i) => {
      if (!shown.has(channel)) return;
      lines.push({ values: column("x", i), color: lineColor(i) });
      const expected = parts.expected?.(rows, i);
      if (expected) lines.push({ values: expected, color: lineColor(i), dashed: true });
      if (rows[0]?.lower) bands.push({ lower: column("lower", i), upper: column("upper", i), color: lineColor(i) });
    });
    scale = chart(values, numbers, { lines, bands, marks, selected });
    chart(scores, numbers, { lines: [{ values: rows.map((row) => row.score), color: lineColor(0) }], marks, range: [0, 1] });
    parts.update?.(rows);
    alarms.update(open.alarms);
    listed.update(() => [
      ["sample", ...channels.flatMap((each) => (shown.has(each) ? [each, `${each}, expected`] : [])), "score"],
      rows.slice(-LISTED).reverse().map((row, k) => [
        numbers[numbers.length - 1 - k],
        ...channels.flatMap((each, i) => (shown.has(each) ? [at(row.x, i), parts.expected?.([row], i)?.[0]] : [])), row.score,
      ]),
    ]);
  };
}

function choice(channel, i, shown) {
  const box = h("input", { type: "checkbox", checked: shown.has(channel), onchange: () => (box.checked ? shown.add(channel) : shown.delete(channel)) });
  const label = h("label", {}, box, ` ${channel}`);
  label.style.color = `var(${channelColor(i)})`;
  return label;
}

function quality(found) {
  return Object.entries(found).filter(([key, value]) => typeof value === "number" && !(key === "last_drift" && value < 0)).slice(0, 6).map(([key, value]) => `${key.replaceAll("_", " ")} ${short(value)}`);
}

/** The channels of a window, ranked by their mean contribution: to its alarms, else to its samples as the model sees them now. */
async function ranked(name, from, to, channels) {
  const { alarms, numbers, rows } = state.open;
  let shares = alarms.filter((each) => each.first <= to && each.last >= from && each.contribution).map((each) => each.contribution);
  if (!shares.length) {
    const chosen = rows.filter((row, i) => numbers[i] >= from && numbers[i] <= to && row.x);
    if (!chosen.length) return h("p", {}, "No samples in this window.");
    const answer = await post(modelPath(name, "/explain"), { x: chosen.map((row) => row.x) });
    shares = answer.outputs.contribution;
  }
  const known = shares.filter((row) => row[0] !== null);
  const means = channels.map((channel, i) => [known.reduce((sum, row) => sum + row[i], 0) / Math.max(known.length, 1), channel]);
  means.sort((a, b) => b[0] - a[0]);
  const row = ([share, channel]) => {
    const bar = h("span", { class: "bar" });
    bar.style.width = `${share * 12}rem`;
    return h("tr", {}, h("th", { scope: "row" }, channel), h("td", {}, bar, ` ${(100 * share).toFixed(1)} %`));
  };
  return h("table", { class: "ranking" }, h("caption", {}, `Contribution in samples ${from} to ${to}`), h("tbody", {}, ...means.slice(0, 12).map(row)));
}

