/**
 * A program of a user in TypeScript, compiled with strict types against the installed package. It is not run.
 */

import {
  type Ack,
  type Alarm,
  Client,
  Event,
  Fenced,
  row,
  StreamlearnError,
  type Tensor,
} from "streamlearn-client";

export async function use(): Promise<void> {
  using client = new Client("tcp://127.0.0.1:7700", {
    timeout: null,
    serverKey: "server.pub",
    keyFile: "me.key",
  });
  const { spec } = await client.create("pump", "som", { dim: 3, grid: [8, 8] });
  const ack: Ack = await client.learn("pump", [[1, null, 3]], {
    keys: ["a"],
    times: [new Date()],
    ack: "written",
  });
  await client.learn("pump", new Float32Array(3), {
    y: [1],
    ids: 5n,
    idempotencyKey: `${ack.lsn} ${String(spec["dim"])}`,
  });
  const { outputs } = await client.predict("pump", { flow: 1, heat: null });
  const winner: Int32Array | undefined = outputs.winner;
  const { arrays } = await client.read("pump", ["weights"]);
  const weights: Tensor | undefined = arrays["weights"];
  const time: bigint | undefined = outputs.time?.[0];
  const forecast: Float32Array = row((await client.forecast("pump", 5)).forecast, 0);
  await using stream = await client.stream("pump", { window: 8, interval: null });
  await stream.push([1, 2, 3], { key: 7n, time: 10n });
  await stream.pushMany([new Float64Array(3)], { keys: new BigInt64Array(1) });
  for await (const event of client.subscribe({ kind: ["alarm", "output"], models: ["pump"] })) {
    const known: Event = event;
    const [alarm]: Alarm[] = known.alarms;
    console.log(alarm?.cause === "stuck", winner, weights, time, forecast);
  }
  try {
    await stream.flush(100);
  } catch (error) {
    if (error instanceof StreamlearnError && error.cause instanceof Fenced)
      console.log(error.cause.code, error.inDoubt);
  }
}

// @ts-expect-error: no such level of acknowledgement
export const wrong = (client: Client) => client.learn("pump", [1], { ack: "none" });
// @ts-expect-error: no such kind of event
export const unknown = (client: Client) => client.subscribe({ kind: "alarms" });
