// Requests to the gateway, and its events.

const TOKEN = "streamlearn-token";

function headers(more = {}) {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

/** Send a file. Throws as `request`; the key lets a repetition have no effect. */
export async function sendFile(path, file, type, key) {
  return answered(await sent(path, { method: "POST", headers: headers({ "Content-Type": type, "Idempotency-Key": key }), body: file }));
}

/** Send a request. Throws an Error with the text of the problem document, and its facts. */
export async function request(method, path, body, more = {}) {
  const options = { method, headers: headers(body === undefined ? more : { "Content-Type": "application/json" }) };
  if (body !== undefined) options.body = JSON.stringify(body);
  const answer = await sent(path, options);
  if (answer.status === 401 && askForToken()) return request(method, path, body, more);
  return answered(answer);
}

async function sent(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error("the gateway does not answer; try again");
  }
}

async function answered(answer) {
  if (answer.status === 204) return null;
  const found = await answer.json().catch(() => ({ detail: `status ${answer.status}` }));
  if (!answer.ok) throw Object.assign(new Error(found.detail), { facts: found.facts });
  return found;
}

export const get = (path) => request("GET", path);

/** Get what may be some seconds old: all open pages share an answer. */
export const getShared = (path, seconds) => request("GET", path, undefined, seconds ? { "Cache-Control": `max-age=${seconds}` } : {});
export const post = (path, body = {}) => request("POST", path, body);
export const modelPath = (name, rest = "") => `v1/models/${encodeURIComponent(name)}${rest}`;

let declined = false; // until the page is loaded again

function askForToken() {
  if (declined) return false;
  const token = window.prompt("This gateway needs a token:");
  if (token) sessionStorage.setItem(TOKEN, token.trim());
  else declined = true;
  return Boolean(token);
}

let stream = new AbortController();
let open = "-"; // no model has this name

/** Get all outputs of this model from now on; of the other models only the last score. */
export function follow(name) {
  if (open === (name ?? "-")) return;
  open = name ?? "-";
  stream.abort();
}

/**
 * Call `receive` with every event, and `connected` when no event is missed from then on. Connects again after a loss,
 * with growing pauses.
 */
export async function listen(receive, connected, lost) {
  let pause = 500;
  for (;;) {
    stream = new AbortController();
    const { signal } = stream;
    try {
      const answer = await fetch(`v1/events?full=${encodeURIComponent(open)}`, { headers: headers(), signal });
      if (answer.status === 401 && askForToken()) continue;
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      pause = 500;
      connected();
      await readEvents(answer.body.getReader(), receive);
    } catch {
      // the same as an ended stream
    }
    if (signal.aborted) continue;
    lost();
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(pause * 2, 8000);
  }
}

async function readEvents(reader, receive) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").find((line) => line.startsWith("data: "));
      if (data) receive(JSON.parse(data.slice(6)));
    }
  }
}
