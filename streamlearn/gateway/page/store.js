// What the page knows: the state of the daemon, all models, and the recent samples of the open model.

export const SPARK = 120; // scores in a sparkline, about one a second
export const RECENT = 3000; // samples of the open model
export const SHOWN = 600; // samples in the charts
export const PATH = 60; // winners in a trajectory

const CHANGES = ["labelled", "restored", "reheated"]; // by a person: the parts of the model are read again at once

export const state = {
  daemon: null, // {up, instance}
  models: new Map(), // name: entry
  open: null, // {name, numbers, rows: {output: [per sample]}, alarms}
  changed: true,
  rereads: 0, // how often the parts of the open model were to be read again at once
};

function entry(name) {
  if (!state.models.has(name)) {
    state.models.set(name, { name, scores: [], lastAlarm: null, on: false, silent: 0, seen: 0, heard: 0, samples: 0, updates: 0 });
  }
  return state.models.get(name);
}

/** Take the list of models from the gateway. */
export function listed(models) {
  const names = new Set(models.map((each) => each.name));
  for (const name of state.models.keys()) if (!names.has(name)) state.models.delete(name);
  for (const each of models) Object.assign(entry(each.name), each);
  state.changed = true;
}

export function openModel(name) {
  state.open = name === null ? null : { name, numbers: [], rows: [], alarms: [] };
}

/** Take one event. Returns whether the list of models has to be read again. */
export function received(event) {
  state.changed = true;
  if (event.kind === "daemon") {
    const again = !state.daemon?.up && event.up;
    state.daemon = event;
    return again;
  }
  if (event.kind === "lost") return false;
  const model = entry(event.model);
  if (event.kind === "output") output(model, event);
  else if (event.kind === "alarm") for (const alarm of event.alarms) alarmed(model, alarm, event);
  else if (CHANGES.includes(event.kind) && event.model === state.open?.name) state.rereads += 1;
  return ["created", "deleted", "restored", "paused", "resumed"].includes(event.kind);
}

function output(model, event) {
  const { outputs, row, first } = event;
  model.seen = Date.now();
  model.updates += 1;
  model.samples = Math.max(model.samples, first + event.rows);
  for (const score of outputs.score ?? []) if (score !== null) model.scores.push(score);
  if (model.scores.length > SPARK) model.scores.splice(0, model.scores.length - SPARK);
  const open = state.open;
  if (open?.name !== event.model) return;
  row.forEach((place, k) => {
    open.numbers.push(first + place);
    open.rows.push(Object.fromEntries(Object.entries(outputs).map(([name, values]) => [name, values[k]])));
  });
  const excess = open.numbers.length - RECENT;
  if (excess > 0) {
    open.numbers.splice(0, excess);
    open.rows.splice(0, excess);
  }
}

function alarmed(model, alarm, event) {
  model.heard = performance.now();
  model.on = alarm.state === "begin";
  if (alarm.cause === "silent") model.silent = Math.max(0, model.silent + (model.on ? 1 : -1));
  const begun = { ...alarm, at: event.time / 1e6, lsn: event.lsn, channels: event.channels };
  if (model.on) model.lastAlarm = begun;
  if (state.open?.name === event.model) note(begun);
}

/** Add an alarm of the open model to its list, or the end of one that is there. */
function note(alarm) {
  const { alarms } = state.open;
  const known = noted(alarm);
  if (known) Object.assign(known, alarm, { at: known.at, lsn: known.lsn });
  else alarms.unshift(alarm);
  alarms.length = Math.min(alarms.length, 100);
}

const noted = (alarm) =>
  state.open.alarms.find((each) => each.first === alarm.first && each.cause === alarm.cause && each.key === alarm.key);

/** Take the alarms from before, newest first, when their answer comes. An event that came after the question is newer. */
export async function past(answer) {
  const asked = performance.now();
  const { alarms } = await answer.catch(() => ({ alarms: [] }));
  for (const alarm of [...alarms].reverse()) {
    const model = state.models.get(alarm.model);
    if (!model) continue;
    const begun = { ...alarm, at: alarm.time / 1e6, state: alarm.on ? "begin" : "end" };
    const older = model.heard > asked;
    if (!older) {
      model.on = alarm.on;
      model.lastAlarm = begun;
    }
    if (state.open?.name === alarm.model && !(older && noted(begun))) note(begun);
  }
  state.changed = true;
}

/** How odd a model is, as a whole number: set aside, an alarm, silence, then a high mean of recent scores. */
export function oddness(model) {
  const recent = model.scores.slice(-30);
  const mean = recent.reduce((sum, score) => sum + score, 0) / Math.max(recent.length, 1);
  const high = Math.max(0, Math.floor(10 * mean - 7)); // 0 up to a mean of 0.8, so that healthy models keep their order
  return (model.quarantined ? 40 : 0) + (model.on ? 20 : 0) + (model.silent ? 10 : 0) + high;
}
