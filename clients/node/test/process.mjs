/**
 * Waits for one event and ends by itself: open calls and subscriptions keep a process alive, closed ones do
 * not.
 */

import { Client } from "streamlearn-client";

const client = new Client(process.env.STREAMLEARN_ENDPOINT);
const events = await client.subscribe({ kind: "output", model: process.argv[2] }).opened();
console.log("open");
for await (const event of events) {
  console.log(`rows ${event.rows}`);
  break;
}
client.close();
