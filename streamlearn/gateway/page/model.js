// One model: what it sees, what it expects, and what can be done with it.

import { get, modelPath, post } from "./api.js";
import { chart, extent, grid, lineColor, profile, selectable, short } from "./draw.js";
import { action, ago, h, say } from "./dom.js";
import { alarmText, badge } from "./now.js";
import { openModel, PATH, state } from "./store.js";

const READ_EVERY = 2000; // milliseconds between two reads of a map
const SHOWN = 600; // samples in the charts

export async function modelView(main, name) {
  openModel(name);
  let description = await get(modelPath(name));
  const channels = description.spec.channels ?? Array.from({ length: description.dim }, (_, i) => `channel ${i}`);
  const facts = h("ul", { class: "facts" });
  const values = h("canvas", { class: "chart", role: "img", "aria-label": "channels over samples, with what was expected" });
  const scores = h("canvas", { class: "chart score", role: "img", "aria-label": "score over samples" });
  const ranking = h("div", { "aria-live": "polite" });
  const [begin, end] = ["first sample", "last sample"].map((text) => h("input", { "aria-label": text, placeholder: text, size: 10, inputmode: "numeric" }));
  const alarms = h("tbody");
  const shown = new Set(channels.slice(0, 6));
  const legend = h("div", { class: "actions", role: "group", "aria-label": "Channels shown" },
    ...channels.slice(0, 64).map((channel, i) => choice(channel, i, shown)));
  main.append(
    h("h1", {}, name), facts, actions(name, Boolean(description.spec.labels), () => refresh()), legend, values, scores,
    h("p", {}, h("small", {}, "Drag over the chart to see which channels contributed in a window, or give its samples: "),
      begin, " ", end, " ", h("button", { onclick: () => rank(Number(begin.value), Number(end.value)) }, "Rank")), ranking);
  const parts = await partsOf(main, name, description, channels);
  main.append(h("h2", {}, "Alarms"), h("div", { class: "wide" }, h("table", {},
    h("thead", {}, h("tr", {}, ...["State", "Cause", "Samples", "Score", "Feedback"].map((text) => h("th", { scope: "col" }, text)))), alarms)));
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

  let drawnAlarms = "";
  return () => {
    const open = state.open;
    if (open?.name !== name) return;
    const model = state.models.get(name);
    facts.replaceChildren(...[
      model ? badge(model) : null, description.kind, `${(model?.samples ?? description.samples).toLocaleString("en")} samples`,
      `last sample ${ago(model?.seen)}`, ...quality(description.quality),
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
    const key = JSON.stringify(open.alarms.map((each) => [each.first, each.state, each.last]));
    if (key !== drawnAlarms) {
      drawnAlarms = key;
      alarms.replaceChildren(...open.alarms.map((each) => alarmRow(name, each, channels)));
    }
  };
}

/** A value of a row of outputs; of a forecast over a horizon, that for the next sample. */
function at(values, i) {
  if (values === undefined || values === null) return null;
  const found = Array.isArray(values) ? values : [values];
  return Array.isArray(found[0]) ? found[0][i] : found[i];
}

function choice(channel, i, shown) {
  const box = h("input", { type: "checkbox", checked: shown.has(channel), onchange: () => (box.checked ? shown.add(channel) : shown.delete(channel)) });
  const label = h("label", {}, box, ` ${channel}`);
  label.style.color = lineColor(i);
  return label;
}

function quality(found) {
  return Object.entries(found).filter(([, value]) => typeof value === "number").slice(0, 6).map(([key, value]) => `${key.replaceAll("_", " ")} ${short(value)}`);
}

/** The channels of a window, ranked by their mean contribution. */
async function ranked(name, from, to, channels) {
  const { numbers, rows } = state.open;
  const chosen = rows.filter((row, i) => numbers[i] >= from && numbers[i] <= to && row.x);
  if (!chosen.length) return h("p", {}, "No samples in this window.");
  let shares = chosen.filter((row) => row.contribution).map((row) => row.contribution);
  if (!shares.length) {
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

function alarmRow(name, alarm, channels) {
  const judge = (verdict, fault = "") => action(async () => {
    await post(modelPath(name, "/feedback"), { sample: alarm.peak, verdict, name: fault });
    say(`sample ${alarm.peak} is called ${fault || verdict}`);
  });
  const fault = h("input", { "aria-label": "name of the fault", placeholder: "name of the fault", size: 14, maxlength: 32 });
  return h("tr", { class: alarm.state === "begin" ? "alarm" : "" },
    h("td", {}, alarm.state === "begin" ? "on" : "ended"), h("td", {}, alarmText(alarm, channels)),
    h("td", {}, `${alarm.first} – ${alarm.last}`), h("td", { class: "number" }, short(alarm.score)),
    h("td", {}, h("button", { onclick: judge("normal") }, "Normal"), " ", fault, " ",
      h("button", { onclick: () => judge("fault", fault.value)() }, "Fault")));
}

function actions(name, labels, refresh) {
  const run = (path, body, done) => action(async () => {
    const answer = await post(modelPath(name, path), body?.());
    await refresh();
    say(done(answer));
  });
  const lsn = h("input", { "aria-label": "lsn or name of a checkpoint", placeholder: "lsn or checkpoint", size: 16 });
  const target = () => (/^\d+$/.test(lsn.value) ? { lsn: Number(lsn.value) } : { name: lsn.value });
  const undo = h("button", { hidden: true }, "Undo the restore");
  const restored = (answer) => {
    undo.hidden = false;
    undo.onclick = run("/restore", () => ({ name: answer.undo_name }), () => "the restore is undone");
    return `restored the state at lsn ${answer.restored_lsn}`;
  };
  const label = h("input", { "aria-label": "label", placeholder: "label", size: 10 });
  const unit = h("input", { "aria-label": "unit", placeholder: "unit", size: 5, inputmode: "numeric" });
  const given = () => ({ unit: Number(unit.value), label: label.value || null });
  return h("div", { class: "actions" },
    h("button", { onclick: run("/pause", null, () => "learning is paused; samples are watched") }, "Pause"),
    h("button", { onclick: run("/resume", null, () => "the model learns again") }, "Resume"),
    h("button", { onclick: run("/checkpoints", () => ({}), (answer) => `wrote a checkpoint at lsn ${answer.lsn}`) }, "Checkpoint"),
    h("span", {}, lsn, " ", h("button", { onclick: run("/restore", target, restored) }, "Restore")), undo,
    h("span", { hidden: !labels }, unit, " ", label, " ",
      h("button", { onclick: run("/label", given, () => `unit ${unit.value} is labelled ${label.value || "with nothing"}`) }, "Label")));
}

/** The views that depend on the kind of the model. */
async function partsOf(main, name, description, channels) {
  const { kind, spec } = description;
  if (kind === "som" && spec.grid.length === 2) return mapParts(main, name, spec, channels);
  if (["som", "competitive", "gng"].includes(kind)) return prototypeParts(main, name, channels);
  if (kind === "rnn") return forecastParts(main, name, description, channels);
  return {};
}

async function mapParts(main, name, spec, channels) {
  const hexagonal = spec.topology === "hexagonal";
  const wanted = ["u_matrix", "planes", "hits", ...(spec.labels ? ["labels"] : [])];
  const canvases = [];
  const figure = (title) => {
    const canvas = h("canvas", { role: "img", "aria-label": title });
    canvas.style.aspectRatio = `${spec.grid[1]} / ${spec.grid[0] * (hexagonal ? 0.9 : 1)}`;
    const caption = h("figcaption", {}, title);
    canvases.push({ canvas, caption, title });
    return h("figure", {}, canvas, caption);
  };
  main.append(h("h2", {}, "Map"), h("div", { class: "grids" }, figure("U-matrix"), figure("hits"), ...channels.slice(0, 24).map(figure)));
  let found = null;
  let read = 0;
  let hover = null;
  const finders = new Map();
  for (const { canvas } of canvases) {
    canvas.addEventListener("pointermove", (event) => {
      hover = finders.get(canvas)?.(event.offsetX, event.offsetY) ?? null;
    });
    canvas.addEventListener("pointerleave", () => { hover = null; });
  }
  const load = async () => {
    const answer = await get(modelPath(name, `/read?${wanted.map((part) => `what=${part}`).join("&")}`)).catch(() => null);
    if (!answer) return;
    found = answer.parts;
    found.labels = found.labels?.map((line) => line.map((label) => (label < 0 ? null : answer.label_names[label] ?? label)));
  };
  await load();
  return {
    expected: (rows, i) => found && rows.map((row) => (row.coords && row.winner >= 0 ? found.planes[i][row.coords[0]][row.coords[1]] : null)),
    update: (rows) => {
      if (Date.now() - read > READ_EVERY) {
        read = Date.now();
        load();
      }
      if (!found) return;
      const path = rows.slice(-PATH).filter((row) => row.coords && row.winner >= 0).map((row) => row.coords);
      const layers = [found.u_matrix, found.hits, ...found.planes];
      canvases.forEach(({ canvas, caption, title }, k) => {
        finders.set(canvas, grid(canvas, layers[k], { hexagonal, path, hover, labels: k ? null : found.labels }));
        const value = hover && layers[k][hover[0]]?.[hover[1]];
        caption.textContent = hover ? `${title}: ${short(value)} at ${hover.join(", ")}` : title;
      });
    },
  };
}

async function prototypeParts(main, name, channels) {
  const holder = h("div", { class: "grids" });
  main.append(h("h2", {}, "Prototypes"), holder);
  let found = null;
  let read = 0;
  const load = async () => {
    const answer = await get(modelPath(name, "/read?what=prototypes&what=hits")).catch(() => null);
    if (answer) found = answer.parts;
  };
  await load();
  return {
    expected: (rows, i) => found && rows.map((row) => found.prototypes[row.winner]?.[i] ?? null),
    update: () => {
      if (!found || Date.now() - read < READ_EVERY) return;
      read = Date.now();
      load();
      const units = found.hits.map((hits, unit) => [hits, unit]).sort((a, b) => b[0] - a[0]).slice(0, 48);
      holder.replaceChildren(...units.map(([hits, unit]) => {
        const canvas = h("canvas", { class: "spark", role: "img", "aria-label": `prototype of unit ${unit}` });
        const text = hits ? `unit ${unit}: ${short(hits)} hits` : `unit ${unit}: dead`;
        return h("figure", {}, canvas, h("figcaption", {}, text));
      }));
      const range = extent(found.prototypes);
      units.forEach(([, unit], k) => {
        const canvas = holder.children[k].firstChild;
        profile(canvas, found.prototypes[unit], range);
      });
    },
  };
}

async function forecastParts(main, name, description, channels) {
  const canvas = h("canvas", { class: "chart", role: "img", "aria-label": "forecast of the next samples" });
  const errors = h("canvas", { class: "chart score", role: "img", "aria-label": "error over samples" });
  const lags = h("canvas", { class: "chart score", role: "img", "aria-label": "gradient by lag" });
  main.append(h("h2", {}, "Forecast of the next samples"), canvas, h("h2", {}, "Error"), errors);
  if (description.spec.record_lags) main.append(h("h2", {}, "Gradient by lag"), lags);
  let found = null;
  let gradient = null;
  let read = 0;
  const load = async () => {
    const steps = Math.max(24, description.spec.horizon ?? 1);
    const from = state.open.numbers.at(-1) ?? description.samples;
    const answer = await get(modelPath(name, `/forecast?steps=${steps}`)).catch(() => null);
    if (answer) found = { from, values: answer.forecast };
    if (description.spec.record_lags) gradient = (await get(modelPath(name, "/read?what=lags")).catch(() => null))?.parts.lags ?? null;
  };
  if (!description.needs_keys) await load();
  return {
    expected: (rows, i) => (rows[0]?.prediction ? rows.map((row) => at(row.prediction, i)) : null),
    update: (rows) => {
      if (Date.now() - read > READ_EVERY && !description.needs_keys) {
        read = Date.now();
        load();
      }
      const numbers = state.open.numbers.slice(-SHOWN);
      if (rows[0]?.error !== undefined) chart(errors, numbers, { lines: [{ values: rows.map((row) => row.error), color: lineColor(0) }] });
      if (gradient) chart(lags, gradient.map((_, i) => i), { lines: [{ values: gradient, color: lineColor(1) }] });
      if (!found) return;
      const { from, values } = found;
      const last = from + values.length;
      const near = numbers.map((n, k) => [n, rows[k]]).filter(([n]) => n > from - 72 && n <= last);
      const places = [...new Set([...near.map(([n]) => n), ...values.map((_, i) => from + 1 + i)])].sort((a, b) => a - b);
      const came = new Map(near);
      const lines = channels.slice(0, 6).flatMap((_, i) => [
        { values: places.map((n) => at(came.get(n)?.x, i)), color: lineColor(i) },
        { values: places.map((n) => values[n - from - 1]?.[i] ?? null), color: lineColor(i), dashed: true },
      ]);
      chart(canvas, places, { lines });
    },
  };
}
