/** Print the alarms of all models, and the unusual samples of one: `node watch-events.mjs [MODEL]`. */

import { Client } from "streamlearn-client";

const UNUSUAL = 0.999;
const [model = "pump"] = process.argv.slice(2);
const client = new Client(process.env.STREAMLEARN_ENDPOINT);
const clock = (event) => event.date.toTimeString().slice(0, 8);

async function watchAlarms(events) {
  for await (const event of events) {
    for (const { state, cause, sample, channel } of event.alarms) {
      console.log(
        `${clock(event)}  ${event.model}: alarm ${state}s at sample ${sample}: ${cause}, channel ${channel}`,
      );
    }
  }
}

async function watchScores(events) {
  for await (const { first, outputs } of events) {
    outputs.score.forEach((score, row) => {
      if (score > UNUSUAL) console.log(`sample ${first + row}: score ${score.toFixed(4)}`);
    });
  }
}

const [alarms, scores] = [client.subscribe({ kind: "alarm" }), client.subscribe({ kind: "output", model })];
await Promise.all([alarms.opened(), scores.opened()]);
console.log(`watching ${model}`);
await Promise.all([watchAlarms(alarms), watchScores(scores)]);
