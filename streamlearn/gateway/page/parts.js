// The parts of a model's page that depend on its kind: maps, prototypes, forecasts.

import { chooseUnit } from "./actions.js";
import { get, getShared, modelPath } from "./api.js";
import { at, chart, extent, grid, lineColor, profile, short } from "./draw.js";
import { h } from "./dom.js";
import { PATH, SHOWN, state } from "./store.js";
import { table } from "./tables.js";

const READ_EVERY = 2000; // milliseconds between two reads of a model
const SHARE = 10; // a read that takes long is repeated after this many times as long
const MOST_PROFILES = 48; // of units
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * Return a function that calls `load(seconds)` now and then, if the model has learned: `seconds` is how old the answer may be.
 * A change of the model by a person (`state.rereads`) is read at once.
 */
export function regularly(name, load) {
  let known = state.rereads;
  let last = 0;
  let pause = READ_EVERY;
  let seen = -1;
  let busy = false;
  return async () => {
    const began = Date.now();
    const updates = state.models.get(name)?.updates ?? 0;
    const atOnce = state.rereads !== known;
    if (busy || (!atOnce && (began - last < pause || updates === seen))) return;
    busy = true;
    const seconds = atOnce ? 0 : READ_EVERY / 1000;
    known = state.rereads;
    seen = updates;
    await load(seconds);
    last = Date.now();
    pause = Math.max(READ_EVERY, SHARE * (last - began));
    busy = false;
    state.changed = true;
  };
}

/** The views that depend on the kind of the model. */
export async function partsOf(main, name, description, channels) {
  const { kind, spec } = description;
  if (kind === "som" && spec.grid.length === 2) return mapParts(main, name, spec, channels);
  if (["som", "competitive", "gng"].includes(kind)) return prototypeParts(main, name, channels);
  if (kind === "rnn") return forecastParts(main, name, description, channels);
  if (["grossberg", "hamming", "malsburg", "cognitron"].includes(kind)) return weightParts(main, name);
  return {};
}

async function mapParts(main, name, spec, channels) {
  const hexagonal = spec.topology === "hexagonal";
  const wanted = ["u_matrix", "planes", "hits", "labels"];
  const canvases = [];
  const onScreen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) target.onScreen = isIntersecting;
    state.changed = true;
  });
  const figure = (title) => {
    const canvas = h("canvas", { role: "img", "aria-label": `${title}; arrow keys move from unit to unit, Enter chooses one to label`, tabindex: 0 });
    canvas.style.aspectRatio = `${spec.grid[1]} / ${spec.grid[0] * (hexagonal ? 0.9 : 1)}`;
    const caption = h("figcaption", {}, title);
    canvases.push({ canvas, caption, title });
    onScreen.observe(canvas);
    return h("figure", {}, canvas, caption);
  };
  const units = table("The units as a table");
  const spoken = h("p", { class: "unseen", "aria-live": "polite" });
  main.append(h("h2", {}, "Map"), h("p", {}, h("small", {}, "Choose a unit to give it a label.")), h("div", { class: "grids" }, figure("U-matrix"), figure("hits"), ...channels.slice(0, 24).map(figure)), spoken, units.element);
  let found = null;
  let names = [];
  let hover = null;
  const choose = (place) => place && chooseUnit(place[0] * spec.grid[1] + place[1]);
  const finders = new Map();
  for (const { canvas } of canvases) {
    canvas.addEventListener("pointermove", (event) => {
      hover = finders.get(canvas)?.(event.offsetX, event.offsetY) ?? null;
    });
    canvas.addEventListener("click", (event) => choose(finders.get(canvas)?.(event.offsetX, event.offsetY)));
    canvas.addEventListener("pointerleave", () => { hover = null; });
    canvas.addEventListener("blur", () => { hover = null; });
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "Enter") choose(hover);
      const step = STEPS[event.key];
      if (!step) return;
      event.preventDefault();
      hover = hover ? step.map((each, i) => Math.min(Math.max(hover[i] + each, 0), spec.grid[i] - 1)) : [0, 0];
      state.changed = true;
      if (found) spoken.textContent = unitRow(...hover).map((value, i) => `${unitColumns[i]} ${typeof value === "string" ? value : short(value)}`).join(", ");
    });
  }
  const unitColumns = ["unit", "hits", "U-matrix", "label", ...channels];
  const unitRow = (row, column) => [
    `${row}, ${column}`, found.hits[row][column], found.u_matrix[row][column],
    String(found.labels[row][column] ?? "–"), ...found.planes.map((plane) => plane[row][column]),
  ];
  const load = async (seconds) => {
    const answer = await getShared(modelPath(name, `/read?${wanted.map((part) => `what=${part}`).join("&")}`), seconds).catch(() => null);
    if (!answer) return;
    found = answer.parts;
    names = answer.label_names;
    found.labels = found.labels.map((line) => line.map((label) => (label < 0 ? null : names[label] ?? label)));
    units.update(() => [unitColumns, found.hits.flatMap((line, row) => line.map((_, column) => unitRow(row, column)))]);
  };
  await load(0);
  const read = regularly(name, load);
  return {
    label: (row) => labelText(row, names),
    expected: (rows, i) => found && rows.map((row) => (row.coords && row.winner >= 0 ? found.planes[i][row.coords[0]][row.coords[1]] : null)),
    update: (rows) => {
      read();
      if (!found) return;
      const path = rows.slice(-PATH).filter((row) => row.coords && row.winner >= 0).map((row) => row.coords);
      const layers = [found.u_matrix, found.hits, ...found.planes];
      canvases.forEach(({ canvas, caption, title }, k) => {
        const value = hover && layers[k][hover[0]]?.[hover[1]];
        caption.textContent = hover ? `${title}: ${short(value)} at ${hover.join(", ")}` : title;
        if (canvas.onScreen) finders.set(canvas, grid(canvas, layers[k], { hexagonal, path, hover, labels: k ? null : found.labels }));
      });
    },
  };
}

async function prototypeParts(main, name, channels) {
  const holder = h("div", { class: "grids" });
  const listed = table("The prototypes as a table");
  main.append(h("h2", {}, "Prototypes"), holder, listed.element);
  let found = null;
  let names = [];
  const load = async (seconds) => {
    const answer = await getShared(modelPath(name, "/read?what=prototypes&what=hits&what=labels"), seconds).catch(() => null);
    if (!answer) return;
    found = answer.parts;
    names = answer.label_names;
    show();
  };
  const nameOf = (unit) => (found.labels[unit] < 0 ? "–" : names[found.labels[unit]] ?? String(found.labels[unit]));
  function show() {
    const units = found.hits.map((hits, unit) => [hits, unit]).sort((a, b) => b[0] - a[0]).slice(0, MOST_PROFILES);
    drawProfiles(holder, units.map(([hits, unit]) => {
      const text = `unit ${unit}${found.labels[unit] < 0 ? "" : ` (${nameOf(unit)})`}: ${hits ? `${short(hits)} hits` : "dead"}`;
      const caption = h("button", { title: "Give it a label", onclick: () => chooseUnit(unit) }, text);
      return { spoken: `prototype of ${text}`, caption, values: found.prototypes[unit] };
    }), extent(found.prototypes));
    listed.update(() => [
      ["unit", "hits", "label", ...channels],
      found.hits.map((hits, unit) => [String(unit), hits, nameOf(unit), ...found.prototypes[unit]])]);
  }
  await load(0);
  return {
    label: (row) => labelText(row, names),
    expected: (rows, i) => found && rows.map((row) => found.prototypes[row.winner]?.[i] ?? null),
    update: regularly(name, load),
  };
}

/** Draw a figure for each of `units`: {spoken, caption, values}. All have the same range. */
function drawProfiles(holder, units, range) {
  holder.replaceChildren(...units.map(({ spoken, caption }) =>
    h("figure", {}, h("canvas", { class: "spark", role: "img", "aria-label": spoken }), h("figcaption", {}, caption))));
  units.forEach(({ values }, k) => profile(holder.children[k].firstChild, values, range));
}

/** The weights of the classic networks: a profile for each unit of each layer. */
async function weightParts(main, name) {
  const holder = h("div", { class: "grids" });
  const listed = table("The weights as a table");
  main.append(h("h2", {}, "Weights"), holder, listed.element);
  const load = async (seconds) => {
    const answer = await getShared(modelPath(name, "/read?what=weights"), seconds).catch(() => null);
    if (!answer) return;
    const units = rowsOf(answer.parts.weights).filter(([, weights]) => weights.length > 1);
    listed.update(() => [
      ["unit", ...Array.from({ length: Math.max(...units.map(([, weights]) => weights.length)) }, (_, i) => `input ${i}`)],
      units.map(([title, weights]) => [title, ...weights])]);
    const shown = units.slice(0, MOST_PROFILES).map(([caption, values]) => ({ spoken: `weights of ${caption}`, caption, values }));
    drawProfiles(holder, shown, extent(shown.map(({ values }) => values)));
  };
  await load(0);
  return { update: regularly(name, load) };
}

/** The rows [title, numbers] of an array of any number of axes, or of an object with several arrays. */
function rowsOf(part, title = "") {
  const within = (each, i) => rowsOf(each, title ? `${title}, ${i}` : `unit ${i}`);
  if (!Array.isArray(part)) return Object.entries(part).flatMap(([key, each]) => rowsOf(each, isNaN(key) ? key : `layer ${key}`));
  return Array.isArray(part[0]) ? part.flatMap(within) : [[title, part]];
}

/** The label of a sample's winner, for the facts about the model. */
function labelText(row, names) {
  return row?.label >= 0 ? `label ${names[row.label] ?? row.label}` : null;
}

async function forecastParts(main, name, description, channels) {
  const canvas = h("canvas", { class: "chart", role: "img", "aria-label": "forecast of the next samples" });
  const errors = h("canvas", { class: "chart score", role: "img", "aria-label": "error over samples" });
  const lags = h("canvas", { class: "chart score", role: "img", "aria-label": "gradient by lag" });
  const steps = table("The forecast as a table");
  main.append(h("h2", {}, "Forecast of the next samples"), canvas, steps.element, h("h2", {}, "Error"), errors);
  if (description.spec.record_lags) main.append(h("h2", {}, "Gradient by lag"), lags);
  let found = null;
  let gradient = null;
  const load = async (seconds) => {
    const count = Math.max(24, description.spec.horizon ?? 1);
    const answer = await get(modelPath(name, `/forecast?steps=${count}`)).catch(() => null);
    if (answer) found = { from: answer.samples - 1, values: answer.forecast, lower: answer.lower ?? [], upper: answer.upper ?? [] };
    if (description.spec.record_lags) gradient = (await getShared(modelPath(name, "/read?what=lags"), seconds).catch(() => null))?.parts.lags ?? null;
  };
  if (!description.needs_keys) await load(0);
  const read = regularly(name, load);
  return {
    expected: (rows, i) => (rows[0]?.prediction ? rows.map((row) => at(row.prediction, i)) : null),
    update: (rows) => {
      if (!description.needs_keys) read();
      const numbers = state.open.numbers.slice(-SHOWN);
      if (rows[0]?.error !== undefined) chart(errors, numbers, { lines: [{ values: rows.map((row) => row.error), color: lineColor(0) }] });
      if (gradient) chart(lags, gradient.map((_, i) => i), { lines: [{ values: gradient, color: lineColor(1) }] });
      if (!found) return;
      const { from, values, lower, upper } = found;
      const last = from + values.length;
      const near = numbers.map((n, k) => [n, rows[k]]).filter(([n]) => n > from - 72 && n <= last);
      const places = [...new Set([...near.map(([n]) => n), ...values.map((_, i) => from + 1 + i)])].sort((a, b) => a - b);
      const came = new Map(near);
      const lines = channels.slice(0, 6).flatMap((_, i) => [
        { values: places.map((n) => at(came.get(n)?.x, i)), color: lineColor(i) },
        { values: places.map((n) => values[n - from - 1]?.[i] ?? null), color: lineColor(i), dashed: true },
      ]);
      const bands = channels.slice(0, 6).map((_, i) => ({
        lower: places.map((n) => lower[n - from - 1]?.[i] ?? null), upper: places.map((n) => upper[n - from - 1]?.[i] ?? null), color: lineColor(i),
      }));
      chart(canvas, places, { lines, bands });
      steps.update(() => [
        ["sample", ...channels.flatMap((each) => [each, `${each}, band`, `${each}, came`])],
        values.map((row, k) => [from + 1 + k, ...row.flatMap((value, i) => [
          value, lower[k]?.[i] != null ? `${short(lower[k][i])} to ${short(upper[k][i])}` : "–", at(came.get(from + 1 + k)?.x, i)])]),
      ]);
    },
  };
}
