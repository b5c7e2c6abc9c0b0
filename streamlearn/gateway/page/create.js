// Create a model: a form of the parameters of each kind.

import { get, post } from "./api.js";
import { action, h } from "./dom.js";

const FIRST = ["dim", "grid", "units", "hidden", "channels", "alarm", "scale", "keys"];

export async function createView(main) {
  const kinds = await get("page/kinds.json");
  const kind = h("select", { id: "kind", name: "kind" }, ...Object.keys(kinds).map((name) => h("option", {}, name)));
  const name = h("input", { id: "name", name: "name", required: true, pattern: "[A-Za-z0-9_][A-Za-z0-9_.\\-]{0,63}" });
  const fields = h("div");
  const form = h("form", { onsubmit: (event) => event.preventDefault() },
    h("div", { class: "fields" },
      h("label", { for: "name" }, "name"), name, h("small", {}, "letters, digits, _ . -"),
      h("label", { for: "kind" }, "kind"), kind, h("small", {}, "")),
    fields, h("button", { id: "submit", onclick: action(submit) }, "Create"));
  main.append(h("h1", {}, "New model"), form);
  let spec = () => ({});

  function build() {
    const early = (each) => !("default" in each) || FIRST.includes(each.name);
    const first = group(kinds[kind.value].filter(early), "p");
    const others = group(kinds[kind.value].filter((each) => !early(each)), "p");
    spec = () => ({ ...first.value(), ...others.value() });
    fields.replaceChildren(first.element, h("details", {}, h("summary", {}, "All parameters"), others.element));
  }

  async function submit() {
    clearFaults();
    if (!form.reportValidity()) return;
    const made = await post("v1/models", { name: name.value, kind: kind.value, spec: spec() }).catch((error) => {
      for (const fault of error.facts?.errors ?? []) showFault(fault);
      throw error;
    });
    window.location.hash = `#/model/${encodeURIComponent(made.name)}`;
  }
  kind.addEventListener("change", build);
  build();
  return () => {};
}

/** Controls of parameters. value(): those that were entered, by name. */
function group(parameters, prefix) {
  const controls = parameters.map((each) => [each.name, control(each, `${prefix}-${each.name}`)]);
  const rows = parameters.flatMap((each, i) => {
    const { element, more } = controls[i][1];
    return [h("label", { for: element.id }, each.name), element, h("small", {}, hint(each)), more];
  });
  const value = () => Object.fromEntries(controls.map(([name, each]) => [name, each.value()]).filter(([, found]) => found !== undefined));
  return { element: h("div", { class: "fields" }, ...rows), value };
}

/** One control: its element, and value(), undefined if nothing was entered. */
function control(parameter, id) {
  const { type, choices, fields } = parameter.input;
  if (type === "choices") return chosen(parameter, id, choices.map((each) => [String(each), each]));
  if (type === "fields") {
    const inner = group(fields, id);
    const element = chosen(parameter, id, [["with these values", "own"]]);
    const more = h("fieldset", { hidden: true }, h("legend", {}, parameter.name), inner.element);
    element.element.addEventListener("change", () => { more.hidden = element.value() !== "own"; });
    return { ...element, more, value: () => (element.value() === "own" ? inner.value() : element.value()) };
  }
  const number = type === "number" ? { type: "number", step: parameter.input.step, min: parameter.input.min, max: parameter.input.max } : {};
  const required = !("default" in parameter);
  const element = h("input", { id, name: parameter.name, required, placeholder: required ? "" : shown(parameter.default), ...number });
  return { element, value: () => (element.value.trim() === "" ? undefined : parse(element.value.trim(), parameter.input)) };
}

/** A list to choose from. The first choice is the default; "none" if the parameter may be absent. */
function chosen(parameter, id, choices) {
  const none = parameter.input.none && parameter.default !== null ? [["none", null]] : [];
  const options = [...("default" in parameter ? [[`default: ${shown(parameter.default)}`, undefined]] : []), ...none, ...choices];
  const element = h("select", { id, name: parameter.name }, ...options.map(([text]) => h("option", {}, text)));
  return { element, value: () => options[element.selectedIndex][1] };
}

function shown(value) {
  if (value === null) return "none";
  if (Array.isArray(value)) return value.join(", ") || "none";
  return typeof value === "object" ? "as documented" : String(value);
}

function hint({ text, input }) {
  const sentence = text && !text.endsWith(".") ? `${text}.` : text;
  if (input.type === "list") return `${sentence} Values with commas between them.`;
  return input.type === "json" ? `${sentence} JSON, such as 8, [10, 10] or {"start": 0.5, "end": 0.02}, or text.` : sentence;
}

function parse(text, input) {
  if (input.type === "number") return Number(text);
  if (input.type !== "list") return parseJson(text);
  const parts = text.replace(/^\[|\]$/g, "").split(",").map((each) => each.trim()).filter(Boolean);
  return input.of === "string" ? parts : parts.map(parseJson); // what is no number is refused by its name
}

function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Mark the control of a field that the daemon refused, and say why beside it. */
function showFault({ field, message }) {
  const control = document.getElementById(`p-${field.split(".")[0]}`);
  if (!control) return;
  control.setAttribute("aria-invalid", "true");
  const fault = h("small", { class: "fault", id: `${control.id}-fault` }, message);
  control.setAttribute("aria-describedby", fault.id);
  control.nextElementSibling.append(" ", fault);
  control.closest("details")?.setAttribute("open", "");
}

function clearFaults() {
  for (const fault of document.querySelectorAll(".fault")) fault.remove();
  for (const control of document.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
}
