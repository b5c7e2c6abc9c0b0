// What can be done with a model: pause, checkpoint, restore, label, feedback.

import { get, modelPath, post } from "./api.js";
import { action, h, put, say } from "./dom.js";
import { short } from "./draw.js";
import { alarmText } from "./now.js";

/** The alarms of a model, with feedback to each. A row stays as it is while its alarm goes on, with what is typed in it. */
export function alarmTable(name, labelled, refresh) {
  const body = h("tbody");
  const titles = ["State", "Began", "Cause", "Samples", "Score", "Feedback", ""];
  const none = h("p", {}, h("small", {}, "None yet."));
  const element = h("div", { class: "wide" }, none, h("table", {},
    h("thead", {}, h("tr", {}, ...titles.map((text) => h("th", { scope: "col" }, text)))), body));
  const rows = new Map();
  const update = (alarms) => {
    none.hidden = alarms.length > 0;
    const found = alarms.map((alarm) => {
      const key = `${alarm.first} ${alarm.cause} ${alarm.key ?? ""}`;
      const row = rows.get(key) ?? alarmRow(name, labelled, refresh);
      rows.set(key, row);
      row.update(alarm);
      return row.element;
    });
    if (found.length !== body.children.length || found.some((each, i) => each !== body.children[i])) body.replaceChildren(...found);
  };
  return { element, update };
}

function alarmRow(name, labelled, refresh) {
  let alarm = null;
  const judge = (verdict) => action(async () => {
    const called = verdict === "fault" ? fault.value : "";
    await post(modelPath(name, "/feedback"), { sample: alarm.peak, verdict, name: called });
    say(`sample ${alarm.peak} is called ${called || verdict}`);
  });
  const fault = h("input", { "aria-label": "name of the fault", placeholder: "name of the fault", size: 14, maxlength: 32 });
  const label = action(async () => {
    if (!fault.value) throw new Error("give the name first");
    await post(modelPath(name, "/label"), { sample: alarm.peak, label: fault.value });
    await refresh();
    say(`the unit of sample ${alarm.peak} is labelled ${fault.value}`);
  });
  const before = action(async () => {
    const answer = await post(modelPath(name, "/restore"), { lsn: alarm.lsn - 1 });
    await refresh();
    say(`restored the state before the alarm, at lsn ${answer.restored_lsn}; the checkpoint ${answer.undo_name} undoes it`);
  });
  const restore = h("button", { onclick: before }, "Restore to before");
  const cells = cellsOf(["state", "began", "cause", "samples"]);
  cells.cause.className = "cause";
  const score = h("td", { class: "number" });
  const element = h("tr", {}, ...Object.values(cells), score,
    h("td", {}, h("button", { onclick: judge("normal") }, "Normal"), " ", fault, " ", h("button", { onclick: judge("fault") }, "Fault"),
      ...(labelled ? [" ", h("button", { title: "Give the unit that wins the peak this name", onclick: label }, "Label")] : [])),
    h("td", {}, restore));
  const update = (latest) => {
    alarm = latest;
    const on = alarm.state === "begin";
    element.classList.toggle("alarm", on);
    put(cells.state, on ? "on" : "ended");
    put(cells.began, alarm.at ? new Date(alarm.at).toLocaleString() : "–");
    put(cells.cause, alarmText(alarm));
    put(cells.samples, `${alarm.first} – ${alarm.last}`);
    put(score, short(alarm.score));
    restore.hidden = !alarm.lsn || alarm.cause === "silent";
  };
  return { element, update };
}

const cellsOf = (names) => Object.fromEntries(names.map((each) => [each, h("td")]));

/** Write the number of a unit into the form of labels. */
export function chooseUnit(unit) {
  const input = document.getElementById("unit");
  if (!input) return;
  input.value = unit;
  document.getElementById("label").focus();
}

export function actions(name, labelled, refresh) {
  const run = (path, body, done) => action(async () => {
    const answer = await post(modelPath(name, path), body?.());
    await refresh();
    say(done(answer));
  });
  const undo = h("button", { hidden: true }, "Undo the restore");
  const restored = (answer) => {
    undo.hidden = false;
    undo.onclick = run("/restore", () => ({ name: answer.undo_name }), () => "the restore is undone");
    return `restored the state at lsn ${answer.restored_lsn}`;
  };
  const restore = restoreForm(name, (to) => run("/restore", () => to, restored)());
  const label = h("input", { id: "label", "aria-label": "label", placeholder: "label", size: 10, maxlength: 32 });
  const unit = h("input", { id: "unit", "aria-label": "unit", placeholder: "unit", size: 5, inputmode: "numeric" });
  const given = () => ({ unit: Number(unit.value), label: label.value || null });
  return h("div", { class: "actions" },
    h("button", { onclick: run("/pause", null, () => "learning is paused; samples are watched") }, "Pause"),
    h("button", { onclick: run("/resume", null, () => "the model learns again") }, "Resume"),
    h("button", { onclick: run("/checkpoints", () => ({}), (answer) => `wrote a checkpoint at lsn ${answer.lsn}`) }, "Checkpoint"),
    restore, undo,
    labelled ? h("span", {}, unit, " ", label, " ",
      h("button", { title: "Choose a unit of the map or a prototype", onclick: run("/label", given, () => `unit ${unit.value} is ${label.value ? `labelled ${label.value}` : "without a label by hand"}`) }, "Label")) : null);
}

/** Choose a checkpoint, or give an lsn. */
function restoreForm(name, restore) {
  const list = h("datalist", { id: "checkpoints" });
  const target = h("input", {
    "aria-label": "lsn or name of a checkpoint", placeholder: "lsn or checkpoint", size: 16, list: "checkpoints", autocomplete: "off",
  });
  const read = async () => {
    const found = await get(modelPath(name, "/checkpoints")).catch(() => []);
    list.replaceChildren(...found.map((each) => h("option", { value: each.name || each.lsn }, checkpointText(each))));
  };
  target.addEventListener("focus", read);
  read();
  const submit = () => restore(/^\d+$/.test(target.value) ? { lsn: Number(target.value) } : { name: target.value });
  return h("span", {}, target, list, " ", h("button", { onclick: submit }, "Restore"));
}

function checkpointText({ lsn, name, time }) {
  return [`lsn ${lsn}`, name, new Date(time / 1e6).toLocaleString()].filter(Boolean).join(", ");
}
