/**
 * Query a model: `node ask.mjs MODEL 4.1,12.3,60.2,0.1 [SAMPLE ...]`.
 *
 * Each sample is a list of values, separated by commas. An empty value (`4.1,,60.2,0.1`) is a missing value.
 */

import { Client, StreamlearnError } from "streamlearn-client";

const [model, ...texts] = process.argv.slice(2);
if (texts.length === 0) {
  console.error("usage: node ask.mjs MODEL SAMPLE [SAMPLE ...]");
  process.exit(2);
}
const samples = texts.map((text) => text.split(",").map((value) => (value === "" ? null : Number(value))));
const client = new Client(process.env.STREAMLEARN_ENDPOINT, { timeout: 5000 });
try {
  const { kind, samples: learned } = await client.describe(model);
  console.log(`${model}: kind ${kind}, ${learned} samples learned`);
  const { outputs } = await client.predict(model, samples);
  texts.forEach((text, i) => {
    console.log(
      `${text}: winner ${outputs.winner?.[i]}, distance ${outputs.distance?.[i]}, score ` +
        `${outputs.score?.[i]}`,
    );
  });
} catch (error) {
  if (!(error instanceof StreamlearnError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
} finally {
  client.close();
}
