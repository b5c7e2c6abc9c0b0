// The page: routes, the events, and one redraw per frame at most.

import { follow, get, getShared, listen } from "./api.js";
import { createView } from "./create.js";
import { say } from "./dom.js";
import { modelView } from "./model.js";
import { alarmText, nowView } from "./now.js";
import { listed, openModel, past, received, state } from "./store.js";

const REDRAW = 200; // milliseconds
const LIST_EVERY = 5000;

let update = () => {};
let shown = 0; // number of the view; an older one that is still loading is dropped

async function show() {
  shown += 1;
  const number = shown;
  const main = document.getElementById("main");
  const holder = document.createElement("div");
  update = () => {};
  openModel(null);
  say("");
  const [view, name] = window.location.hash.replace(/^#\//, "").split("/");
  follow(view === "model" ? decodeURIComponent(name) : null);
  document.title = name ? `${decodeURIComponent(name)} – streamlearn` : "streamlearn";
  main.replaceChildren(holder);
  try {
    let made;
    if (view === "model") made = await modelView(holder, decodeURIComponent(name));
    else if (view === "create") made = await createView(holder);
    else made = nowView(holder);
    if (number === shown) update = made;
  } catch (error) {
    if (number === shown) say(error.message);
  }
  state.changed = true;
}

async function readList() {
  try {
    listed(await getShared("v1/models", LIST_EVERY / 1000 - 1));
  } catch {
    // the state of the daemon is shown at the top
  }
}

function daemonState(connected) {
  const element = document.getElementById("daemon");
  const up = connected && state.daemon?.up;
  element.textContent = !connected ? "the gateway does not answer" : up ? "connected" : "the daemon does not answer";
  element.classList.toggle("down", !up);
}

function onEvent(event) {
  if (event.kind === "daemon") {
    const wasDown = !state.daemon?.up;
    if (received(event)) readList();
    daemonState(true);
    if (wasDown && event.up && window.location.hash.startsWith("#/model/")) show();
    return;
  }
  if (received(event)) readList();
  if (event.kind === "alarm") announce(event);
}

/** Say an alarm to screen readers, with the names of its channels. */
function announce({ model: name, alarms: [alarm], channels }) {
  const text = alarm.state === "begin" ? "alarm" : "alarm ended";
  document.getElementById("announce").textContent = `${name}: ${text}, ${alarmText({ ...alarm, channels })}`;
}

function redraw() {
  if (state.changed && !document.hidden) {
    state.changed = false;
    update();
  }
}

window.addEventListener("hashchange", show);
window.addEventListener("resize", () => { state.changed = true; });
document.getElementById("main").addEventListener("pointermove", () => { state.changed = true; });
setInterval(() => requestAnimationFrame(redraw), REDRAW);
setInterval(() => { state.changed = true; }, 1000);
setInterval(readList, LIST_EVERY);
const list = readList();
list.then(show);
listen(onEvent, () => list.then(() => past(get("v1/alarms?limit=1000"))), () => {
  if (state.daemon) state.daemon.up = false;
  daemonState(false);
});
