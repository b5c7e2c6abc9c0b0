// Learn a CSV file: the columns that are no samples are chosen by their names.

import { modelPath, sendFile } from "./api.js";
import { action, h, say } from "./dom.js";

const HEADER_BYTES = 65536; // of the file, which have its first line
const DELIMITERS = [",", ";", "\t", "|"];
const TIMES = /^(time|timestamp|datetime|date|ts)$/i;

/** A form that sends a file to the model. `description` says which columns the model needs. */
export function csvForm(name, description) {
  const wanted = ["time", ...(description.needs_keys ? ["key"] : []), ...(description.target_dim ? ["target"] : [])];
  const file = h("input", { type: "file", accept: ".csv,text/csv", "aria-label": "CSV file" });
  const choices = wanted.map((each) => h("select", { "aria-label": `column of the ${each}`, hidden: true }));
  let form = {}; // how the file is written: its delimiter and its decimal sign, if they are not , and .
  let sending = null; // the file and its idempotency key, until it is learned: a repetition learns nothing twice

  async function readHeader() {
    const [chosen] = file.files;
    const [line, next = ""] = chosen ? (await chosen.slice(0, HEADER_BYTES).text()).split(/\r?\n/) : [""];
    const count = (mark) => line.split(mark).length;
    const delimiter = DELIMITERS.reduce((best, mark) => (count(mark) > count(best) ? mark : best));
    form = delimiter === "," ? {} : { delimiter, ...(/\d,\d/.test(next) ? { decimal: "," } : {}) };
    const columns = line.split(delimiter).map((text) => text.trim().replace(/^"(.*)"$/, "$1"));
    choices.forEach((choice, i) => {
      const found = columns.find((each) => (wanted[i] === "time" ? TIMES.test(each) : each === wanted[i]));
      choice.replaceChildren(h("option", { value: "" }, `no ${wanted[i]}`), ...columns.map((each) => h("option", { value: each, selected: each === found }, `${wanted[i]}: ${each}`)));
      choice.hidden = !chosen;
    });
  }

  const send = action(async () => {
    const [chosen] = file.files;
    if (!chosen) throw new Error("choose a CSV file first");
    if (sending?.chosen !== chosen) sending = { chosen, key: `${chosen.name} ${Date.now()} ${Math.random()}` };
    const columns = wanted.map((each, i) => [each, choices[i].value]).filter(([, value]) => value);
    const query = new URLSearchParams([...columns, ...Object.entries(form)]);
    say(`sending ${chosen.name}`);
    const answer = await sendFile(modelPath(name, `/learn?${query}`), chosen, "text/csv", sending.key);
    sending = null;
    say(`learned ${answer.rows.toLocaleString("en")} samples of ${chosen.name}`);
  });
  file.addEventListener("change", readHeader);
  return h("span", {}, file, " ", ...choices.flatMap((each) => [each, " "]), h("button", { onclick: send }, "Learn the file"));
}
