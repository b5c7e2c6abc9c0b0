/** The driver of the Node client: executes the commands of `clients/suite/README.md`. */

import { createInterface } from "node:readline";

import { Client, StreamlearnError } from "streamlearn-client";

const seconds = (value) => (value === undefined ? undefined : value * 1000);
const digits = (value) => typeof value === "string" && /^-?\d+$/.test(value);
const identifiers = (values) =>
  values?.every((each) => typeof each === "number" || digits(each)) ? values.map(BigInt) : values;
const samples = (rows) => rows?.map((row) => row.map((value) => (value === "inf" ? Infinity : value)));
const plain = (value) => {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  return Number.isFinite(value) ? value : Number.isNaN(value) ? null : String(value);
};
const array = (found) => ({
  dtype: found.dtype,
  shape: found.shape,
  values: Array.from(found, found.dtype === "|b1" ? Boolean : plain),
});
const arrays = (found) =>
  Object.fromEntries(Object.entries(found).map(([name, each]) => [name, array(each)]));
const ack = (found) => ({
  lsn: found.lsn,
  durable_lsn: found.durableLsn,
  applied_lsn: found.appliedLsn,
  duplicate: found.duplicate,
  rows: found.rows,
  matched: found.matched,
  unmatched: found.unmatched,
});
const batch = ({ y, keys, ids, times }) => ({
  y: samples(y),
  keys: identifiers(keys),
  ids: identifiers(ids),
  times: identifiers(times),
});

let client;
let stream;
let events;

const commands = {
  async connect({ endpoint, timeout, events, producer, server_key: serverKey, key_file: keyFile }) {
    client?.close();
    client = new Client(endpoint, { timeout: seconds(timeout), events, producer, serverKey, keyFile });
  },
  async hello() {
    const { version, protocol } = await client.hello();
    return { version, protocol };
  },
  async close() {
    client.close();
  },
  async create({ model, kind, spec }) {
    return { name: (await client.create(model, kind, spec)).name };
  },
  delete: ({ model }) => client.delete(model),
  async models() {
    return { names: (await client.models()).map(({ name }) => name).sort() };
  },
  async describe({ model }) {
    const { kind, dim, samples, state_hash, paused } = await client.describe(model);
    return { kind, dim, samples, state_hash, paused };
  },
  async learn({ model, x, ack: level, idempotency_key: idempotencyKey, ...more }) {
    return ack(await client.learn(model, samples(x), { ...batch(more), ack: level, idempotencyKey }));
  },
  async learn_targets({ model, ids, y }) {
    return ack(await client.learnTargets(model, identifiers(ids), samples(y)));
  },
  async predict({ model, x, ...more }) {
    return { arrays: arrays((await client.predict(model, samples(x), batch(more))).outputs) };
  },
  async explain({ model, x, ...more }) {
    return { arrays: arrays((await client.explain(model, samples(x), batch(more))).outputs) };
  },
  async forecast({ model, steps, key }) {
    const { forecast, lower, upper } = await client.forecast(model, steps, {
      key: digits(key) ? BigInt(key) : key,
    });
    return { arrays: arrays({ forecast, ...(lower && { lower, upper }) }) };
  },
  async read({ model, what }) {
    const reading = await client.read(model, what);
    return { samples: reading.samples, arrays: arrays(reading.arrays) };
  },
  label: ({ model, label, unit }) => client.label(model, label, { unit }),
  feedback: ({ model, sample, verdict }) => client.feedback(model, sample, verdict),
  pause: ({ model }) => client.pause(model),
  resume: ({ model }) => client.resume(model),
  async checkpoint({ model, name }) {
    return { lsn: (await client.checkpoint(model, name)).lsn };
  },
  async checkpoints({ model }) {
    return { names: (await client.checkpoints(model)).flatMap(({ name }) => name ?? []).sort() };
  },
  restore: ({ model, name }) => client.restore(model, { name }),
  clone: ({ model, into }) => client.clone(model, into),
  export: ({ model, path }) => client.export(model, path),
  import: ({ model, path }) => client.createFromFile(model, path),
  async stats() {
    return { models: Object.keys((await client.stats()).models).sort() };
  },
  async position({ model, producer }) {
    const { epoch, nextSeq } = await client.position(model, producer);
    return { epoch: plain(epoch), next_seq: nextSeq };
  },
  async stream_open({ model, timeout, ...options }) {
    stream = await client.stream(model, { ...options, timeout: seconds(timeout) });
    return { producer: stream.producer, epoch: plain(stream.epoch) };
  },
  async push({ x, ...more }) {
    const { y, keys, ids, times } = batch(more);
    for (const [i, row] of samples(x).entries()) {
      await stream.push(row, { y: y?.[i], key: keys?.[i], id: ids?.[i], time: times?.[i] });
    }
  },
  async flush({ timeout }) {
    await stream.flush(seconds(timeout));
    return { acknowledged: stream.acknowledged };
  },
  async stream_status() {
    const { acknowledged, pending, resent, epoch } = stream;
    return { acknowledged, pending, resent, epoch: plain(epoch) };
  },
  stream_close: () => stream.close(),
  async stream_abort() {
    stream.abort();
  },
  async firehose({ model, x }) {
    const firehose = await client.firehose(model);
    await firehose.push(samples(x));
    await firehose.close();
  },
  async subscribe({ kinds, models }) {
    events = client.subscribe({ kind: kinds, models });
    await events.opened();
  },
  async next_event({ timeout }) {
    const event = await events.nextEvent(seconds(timeout));
    if (event === undefined) return { event: null };
    const { kind, model, lsn, first, rows, outputs } = event;
    const keys = event.keys.map((key) => (typeof key === "bigint" ? plain(key) : key));
    return {
      event: { kind, model, lsn, first, rows, arrays: arrays(outputs), ...(keys.length && { keys }) },
    };
  },
  async unsubscribe() {
    events.close();
  },
};
const WITHOUT_ANSWER = new Set([
  "delete",
  "label",
  "feedback",
  "pause",
  "resume",
  "restore",
  "clone",
  "export",
  "import",
  "stream_close",
]);

async function execute(line) {
  try {
    const given = Object.entries(JSON.parse(line)).filter(([, value]) => value !== null);
    const { do: command, ...fields } = Object.fromEntries(given);
    const ok = await commands[command](fields);
    return { ok: (WITHOUT_ANSWER.has(command) ? undefined : ok) ?? {} };
  } catch (error) {
    if (!(error instanceof StreamlearnError))
      return { error: { code: "DRIVER", message: String(error?.stack ?? error) } };
    const { code, message, inDoubt, detail } = error;
    return { error: { code, message, in_doubt: inDoubt, cause: detail.cause?.code } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await execute(line))}\n`);
}
process.exit();
