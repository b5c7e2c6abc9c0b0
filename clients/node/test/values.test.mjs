/** What callers may pass: samples, keys, times, names of channels; and the keys of CURVE. */

import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { curveKeyPair } from "zeromq";

import {
  BadDtype,
  BadName,
  BadShape,
  BadValue,
  Client,
  clientKeys,
  identifier,
  publicKey,
  row,
  tensor,
} from "streamlearn-client";
import {
  asIdentifiers,
  asSamples,
  asTargets,
  asTimes,
} from "../node_modules/streamlearn-client/dist/samples.js";
import { packHeader, unpackHeader } from "../node_modules/streamlearn-client/dist/msgpack.js";
import { checkProducer } from "../node_modules/streamlearn-client/dist/names.js";

const rowsOf = ({ values, rows, columns, channels }) => ({
  values: [...values],
  rows,
  columns,
  ...(channels && { channels }),
});

test("samples in all their forms", () => {
  const two = { values: [1, 2, 3, 4], rows: 2, columns: 2 };
  for (const x of [
    [
      [1, 2],
      [3, 4],
    ],
    [new Float32Array([1, 2]), new Float64Array([3, 4])],
    { data: [1, 2, 3, 4], shape: [2, 2] },
    tensor(new Float32Array([1, 2, 3, 4]), [2, 2], "<f4"),
  ]) {
    assert.deepEqual(rowsOf(asSamples(x)), two);
  }
  for (const x of [[1, 2], new Float32Array([1, 2]), { data: new Float64Array([1, 2]), shape: [2] }]) {
    assert.deepEqual(rowsOf(asSamples(x)), { values: [1, 2], rows: 1, columns: 2 });
  }
  const named = { values: [1, NaN, 3, 4], rows: 2, columns: 2, channels: ["a", "b"] };
  assert.deepEqual(
    rowsOf(
      asSamples([
        { a: 1, b: null },
        { b: 4, a: 3 },
      ]),
    ),
    named,
  );
  assert.deepEqual(rowsOf(asSamples([null, 2, undefined])), { values: [NaN, 2, NaN], rows: 1, columns: 3 });
  assert.equal(asSamples([0.1]).values[0], Math.fround(0.1));
});

test("what is no sample is refused with its place", () => {
  assert.throws(() => asSamples([[1, 2], [3]]), BadShape);
  assert.throws(() => asSamples([{ a: 1 }, { b: 1 }]), BadShape);
  assert.throws(() => asSamples({ data: [1, 2, 3], shape: [2, 2] }), BadShape);
  assert.throws(
    () =>
      asSamples([
        [1, 2],
        [3, "4"],
      ]),
    BadDtype,
  );
  assert.throws(() => asSamples("1,2"), BadDtype);
  assert.throws(() => asSamples([1n, 2n]), BadDtype);
  assert.throws(
    () =>
      asSamples([
        [1, 2],
        [3, Infinity],
      ]),
    { code: "BAD_VALUE", detail: { row: 1, channel: 1 } },
  );
  assert.throws(() => asSamples([1e39]), BadValue); // beyond float32
});

test("targets: one for each sample, or all of one sample", () => {
  assert.deepEqual(rowsOf(asTargets([5, 6, 7], 3)), { values: [5, 6, 7], rows: 3, columns: 1 });
  assert.deepEqual(rowsOf(asTargets([5, 6], 1)), { values: [5, 6], rows: 1, columns: 2 });
  assert.throws(() => asTargets([5, 6], 3), BadShape);
});

test("keys and ids of 64 bits are exact, and texts have the digest of the protocol", () => {
  const large = (1n << 62n) + 1n;
  assert.deepEqual([...asIdentifiers([1, large, -large], 3, "keys")], [1n, large, -large]);
  assert.deepEqual([...asIdentifiers(7, 2, "keys")], [7n, 7n]);
  assert.deepEqual([...asIdentifiers("press 7", 1, "keys")], [identifier("press 7")]);
  assert.throws(() => asIdentifiers([2 ** 53], 1, "keys"), BadDtype); // not a safe integer
  assert.throws(() => asIdentifiers([1.5], 1, "keys"), BadDtype);
  assert.throws(() => asIdentifiers([1n << 63n], 1, "keys"), BadValue);
  assert.throws(() => asIdentifiers([1, 2], 3, "keys"), BadShape);
});

test("times", () => {
  assert.deepEqual([...asTimes(new Date(1234), 2)], [1_234_000_000n, 1_234_000_000n]);
  assert.deepEqual([...asTimes([5n, -1n], 2)], [5n, -1n]);
  assert.throws(() => asTimes(1234, 1), BadValue);
  assert.throws(() => asTimes(-(1n << 63n), 1), BadValue);
  assert.throws(() => asTimes(new Date("no"), 1), BadValue);
});

test("integers of headers are exact in both directions, and have the shortest form", () => {
  for (const value of [
    0,
    127,
    2 ** 32 - 1,
    2 ** 32,
    -(2 ** 31) - 1,
    Number.MAX_SAFE_INTEGER,
    (1n << 63n) - 1n,
    -(1n << 63n),
  ]) {
    assert.deepEqual(unpackHeader(packHeader({ value })), { value });
  }
  assert.equal(packHeader({ a: 5n }).length, packHeader({ a: 5 }).length);
  assert.deepEqual(unpackHeader(packHeader({ a: 1.5, b: [1n], c: { d: null } })), {
    a: 1.5,
    b: [1],
    c: { d: null },
  });
});

test("names of producers", () => {
  for (const name of ["press 7", "ü", "~0123"]) assert.equal(checkProducer(name), name);
  for (const name of ["", "a\u00a0b", "a\nb", "ü".repeat(33), "\ud800"])
    assert.throws(() => checkProducer(name), BadName);
  assert.throws(() => new Client("tcp://127.0.0.1:1", { producer: "~mine" }), BadName);
});

test("rows of an array", () => {
  assert.deepEqual([...row(tensor(new Int32Array([1, 2, 3, 4, 5, 6]), [3, 2], "<i4"), 1)], [3, 4]);
});

test("keys of CURVE: the public key of a secret, and files", () => {
  const pair = curveKeyPair();
  assert.equal(publicKey(pair.secretKey), pair.publicKey);
  const server = curveKeyPair().publicKey;
  const directory = mkdtempSync(join(tmpdir(), "keys-"));
  const file = join(directory, "press.key");
  writeFileSync(
    file,
    `# a comment\nname = "press"\npublic = "${pair.publicKey}"\nsecret = "${pair.secretKey}"\n`,
    { mode: 0o600 },
  );
  const found = { server, public: pair.publicKey, secret: pair.secretKey };
  assert.deepEqual(clientKeys({ serverKey: server, keyFile: file }), found);
  assert.deepEqual(clientKeys({ serverKey: server, key: pair.secretKey }), found);
  writeFileSync(join(directory, "server.pub"), `name = "server"\npublic = "${server}"\n`);
  assert.deepEqual(clientKeys({ serverKey: join(directory, "server.pub"), keyFile: file }), found);
  assert.throws(() => clientKeys({ serverKey: file.replace("key", "pub"), keyFile: file }), BadValue);
  assert.throws(() => clientKeys({ serverKey: server }), /keyFile/);
  assert.throws(() => clientKeys({ keyFile: file }), /serverKey/);
  assert.throws(
    () => clientKeys({ serverKey: "short", keyFile: file }),
    (error) => !error.message.includes("short"),
  );
  chmodSync(file, 0o644);
  assert.throws(() => clientKeys({ serverKey: server, keyFile: file }), /chmod 600/);
  assert.equal(clientKeys({}), undefined);
});

test("endpoints that ZeroMQ can't read, and a client that is closed", async () => {
  assert.throws(() => new Client("nonsense"), BadValue);
  const client = new Client("tcp://127.0.0.1:1");
  const call = client.models();
  client.close();
  await assert.rejects(call, /closed/);
  await assert.rejects(client.models(), /closed/);
});
