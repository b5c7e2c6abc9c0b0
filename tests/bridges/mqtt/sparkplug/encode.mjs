// Writes messages of the Sparkplug B encoder of Eclipse Tahu, for the tests of our decoder:
//   npm install sparkplug-payload@1.0.3 && node encode.mjs > messages.json
import { createRequire } from "node:module";
const require = createRequire(process.cwd() + "/");
const { get } = require("sparkplug-payload");
const sparkplug = get("spBv1.0");
const START = 1772622720000;

const out = [];
function add(topic, payload) {
  const bytes = Buffer.from(sparkplug.encodePayload(payload));
  out.push({ topic, base64: bytes.toString("base64"), payload: JSON.parse(JSON.stringify(payload)) });
}

// Every type that is a number, null, and fields that are skipped.
add("spBv1.0/plant/NDATA/types", {
  timestamp: START, seq: 5, uuid: "skipped", body: new Uint8Array([1, 2, 3]),
  metrics: [
    { name: "int8", type: "Int8", value: -5 },
    { name: "int16", type: "Int16", value: -300 },
    { name: "int32", type: "Int32", value: -70000 },
    { name: "int64", type: "Int64", value: -5000000000 },
    { name: "uint8", type: "UInt8", value: 200 },
    { name: "uint16", type: "UInt16", value: 60000 },
    { name: "uint32", type: "UInt32", value: 4000000000 },
    { name: "uint64", type: "UInt64", value: 9007199254740991 },
    { name: "float", type: "Float", value: 1.5, alias: 7, timestamp: START + 1 },
    { name: "double", type: "Double", value: -0.1 },
    { name: "yes", type: "Boolean", value: true },
    { name: "no", type: "Boolean", value: false },
    { name: "text", type: "String", value: "high" },
    { name: "time", type: "DateTime", value: START },
    { name: "null", type: "Double", value: null },
    { name: "rich", type: "Float", value: 2.5, properties: { unit: { type: "String", value: "bar" } },
      metadata: { contentType: "x", size: 1 } },
    { name: "table", type: "DataSet", value: { numOfColumns: 1, types: ["Int8"], columns: ["a"], rows: [[1]] } },
  ],
});

// A node with a device: births with aliases, 600 messages of data by alias only, and deaths. The device reports
// both metrics in each message; every tenth message is one of the node itself, so the device's numbers have gaps.
let seq = 0;
const next = () => { seq = (seq + 1) % 256; return seq; };
add("spBv1.0/plant/NBIRTH/edge", {
  timestamp: START, seq: 0,
  metrics: [
    { name: "bdSeq", type: "UInt64", value: 3 },
    { name: "Node Control/Rebirth", type: "Boolean", value: false },
    { name: "load", type: "Float", alias: 1, value: 0.5 },
  ],
});
add("spBv1.0/plant/DBIRTH/edge/pump", {
  timestamp: START, seq: next(),
  metrics: [
    { name: "Motor/Speed", type: "Int16", alias: 2, value: 100 },
    { name: "Motor/Heat", type: "Float", alias: 3, value: 40 },
  ],
});
let state = 12345;
const random = () => { state = (state * 1103515245 + 12345) % 2147483648; return state / 2147483648; };
for (let i = 0; i < 600; i++) {
  const timestamp = START + 1000 * (i + 1);
  if (i % 10 === 9) {
    add("spBv1.0/plant/NDATA/edge", { timestamp, seq: next(), metrics: [{ alias: 1, type: "Float", value: i / 8 }] });
  } else {
    add("spBv1.0/plant/DDATA/edge/pump", {
      timestamp, seq: next(),
      metrics: [
        { alias: 2, type: "Int16", value: Math.floor(random() * 200) - 100 },
        { alias: 3, type: "Float", value: Math.fround(random() * 8) },
      ],
    });
  }
}
add("spBv1.0/plant/DDEATH/edge/pump", { timestamp: START + 700000, seq: next(), metrics: [] });
add("spBv1.0/plant/NDEATH/edge", { timestamp: START + 700001, metrics: [{ name: "bdSeq", type: "UInt64", value: 3 }] });

console.log("[\n" + out.map((each) => JSON.stringify(each)).join(",\n") + "\n]");
