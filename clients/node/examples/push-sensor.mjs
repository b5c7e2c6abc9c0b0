/**
 * Send the samples of a simulated sensor to a model: `node push-sensor.mjs`.
 *
 * While it runs, you may stop the daemon, even with `kill -9`, and start it again. No sample is lost or
 * learned twice.
 */

import { setTimeout as sleep } from "node:timers/promises";

import { Client, ModelExists } from "streamlearn-client";

const noise = (size) => size * (Math.random() + Math.random() + Math.random() - 1.5);

/** Yield pressure, flow, temperature and vibration of a simulated pump, 50 times per second. */
async function* readings() {
  const start = performance.now();
  for (;;) {
    const t = (performance.now() - start) / 1000;
    const stroke = Math.sin(2 * Math.PI * t);
    yield [
      4 + 0.5 * stroke + noise(0.02),
      12 + 2 * stroke + noise(0.1),
      60 + 5 * Math.sin(t / 60),
      Math.abs(noise(0.3)),
    ];
    await sleep(20);
  }
}

const client = new Client(process.env.STREAMLEARN_ENDPOINT);
try {
  await client.create("pump", "som", { dim: 4, grid: [8, 8], scale: "standard" });
} catch (error) {
  if (!(error instanceof ModelExists)) throw error;
  console.log("model pump exists already; continuing with it");
}
const stream = await client.stream("pump");
let stopping = false;
process.once("SIGINT", () => (stopping = true));
let count = 0;
for await (const reading of readings()) {
  await stream.push(reading, { time: new Date() });
  count += 1;
  if (count % 50 === 0) console.log(`${stream.acknowledged} acknowledged, ${stream.pending} pending`);
  if (stopping) break;
}
await stream.close();
client.close();
console.log(`stopped after ${stream.acknowledged} samples`);
