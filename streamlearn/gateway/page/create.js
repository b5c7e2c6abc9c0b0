// Create a model: a form of the parameters of each kind.

import { get, post } from "./api.js";
import { action, h } from "./dom.js";

const FIRST = ["dim", "grid", "units", "hidden", "channels", "alarm", "scale", "keys"];

export async function createView(main) {
  const kinds = await get("page/kinds.json");
  const kind = h("select", { id: "kind", name: "kind" }, ...Object.keys(kinds).map((name) => h("option", { value: name }, name)));
  const name = h("input", { id: "name", name: "name", required: true, pattern: "[A-Za-z0-9_][A-Za-z0-9_.\\-]{0,63}" });
  const fields = h("div");
  const form = h("form", { class: "fields" },
    h("label", { for: "name" }, "name"), name, h("small", {}, "letters, digits, _ . -"),
    h("label", { for: "kind" }, "kind"), kind, h("small", {}, ""));
  main.append(h("h1", {}, "New model"), form, fields);
  let inputs = new Map();

  function build() {
    inputs = new Map();
    const parameters = kinds[kind.value];
    const early = (each) => !("default" in each) || FIRST.includes(each.name);
    const rows = (list) => list.flatMap((each) => {
      const required = !("default" in each);
      const id = `p-${each.name}`;
      const input = h("input", { id, name: each.name, required, form: "create", placeholder: required ? "" : JSON.stringify(each.default) });
      inputs.set(each.name, input);
      return [h("label", { for: id }, each.name), input, h("small", {}, each.text)];
    });
    const more = h("details", {}, h("summary", {}, "All parameters"), h("form", { class: "fields" }, ...rows(parameters.filter((each) => !early(each)))));
    fields.replaceChildren(
      h("form", { class: "fields", id: "create", onsubmit: (event) => event.preventDefault() }, ...rows(parameters.filter(early))), more,
      h("p", {}, "Values are JSON: 8, [10, 10], {} or text."), h("button", { id: "submit", onclick: action(submit) }, "Create"));
  }

  async function submit() {
    if (!form.reportValidity() || !document.getElementById("create").reportValidity()) return;
    const spec = {};
    for (const [parameter, input] of inputs) if (input.value.trim() !== "") spec[parameter] = parse(input.value.trim());
    const made = await post("v1/models", { name: name.value, kind: kind.value, spec });
    window.location.hash = `#/model/${encodeURIComponent(made.name)}`;
  }
  kind.addEventListener("change", build);
  build();
  return () => {};
}

/** JSON, a list of texts with commas, or a text. */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text.includes(",") ? text.split(",").map((each) => each.trim()) : text;
  }
}
