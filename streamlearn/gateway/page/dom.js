// Small helpers to make elements.

/** Make an element: h("td", {class: "number"}, "1", child). Names that begin with "on" are listeners. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((each) => each != null));
  return element;
}

const written = new WeakMap();

/** Write a text or an element into an element, unless it is there. key: what the element shows. */
export function put(element, content, key = content) {
  if (written.get(element) === key) return;
  written.set(element, key);
  element.replaceChildren(content);
}

/** Show an error or a confirmation. */
export function say(text) {
  const message = document.getElementById("message");
  message.textContent = text;
  message.hidden = !text;
}

/** Run an action of a button, and show its error. */
export const action = (run) => async () => {
  say("");
  try {
    await run();
  } catch (error) {
    say(error.message);
  }
};

export function ago(milliseconds) {
  if (!milliseconds) return "–";
  const seconds = Math.max(0, Math.round((Date.now() - milliseconds) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}
