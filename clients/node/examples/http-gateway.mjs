/**
 * Accept samples over HTTP and answer with their scores: `node http-gateway.mjs [PORT]`, then
 * `curl -d '[[4.1, 12.3, 60.2, 0.1]]' localhost:PORT/pump`.
 */

import { createServer } from "node:http";
import { json } from "node:stream/consumers";

import { Client, StreamlearnError } from "streamlearn-client";

const client = new Client(process.env.STREAMLEARN_ENDPOINT, { timeout: 5000 });

const server = createServer(async (request, response) => {
  const answer = (status, body) =>
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  try {
    const model = new URL(request.url, "http://localhost").pathname.slice(1);
    const samples = await json(request);
    const { outputs } = await client.predict(model, samples);
    const { lsn } = await client.learn(model, samples);
    answer(200, { lsn, score: Array.from(outputs.score) });
  } catch (error) {
    const known = error instanceof StreamlearnError;
    answer(known && !error.retryable ? 400 : 500, {
      code: known ? error.code : "ERROR",
      message: error.message,
    });
  }
});

server.listen(Number(process.argv[2] ?? 8080), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
