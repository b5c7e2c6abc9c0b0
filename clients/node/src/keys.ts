/** CURVE keys and their files. A key is 32 bytes, written as 40 characters of Z85. */

import { createPrivateKey, createPublicKey } from "node:crypto";
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";

import { BadValue } from "./errors.js";

const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
const KEY = /^[0-9A-Za-z.:+=^!/*?&<>()[\]{}@%$#-]{40}$/;
const VARIABLES = {
  server: "STREAMLEARN_SERVER_KEY",
  file: "STREAMLEARN_KEY_FILE",
  key: "STREAMLEARN_KEY",
} as const;
/**
 * Bits of a mode that the file of a secret key must not have: written by the group, or anything by others.
 */
const TOO_OPEN = 0o027;
/** The start of an X25519 key in PKCS #8, before its 32 bytes. */
const PKCS8 = Buffer.from("302e020100300506032b656e04220420", "hex");

/** The keys of one connection: the daemon's public key and the client's own pair. */
export interface ClientKeys {
  readonly server: string;
  readonly public: string;
  readonly secret: string;
}

/** What a caller passes. By default, the environment variables are used. */
export interface KeyOptions {
  /** The public key of the daemon, or the path of its `.pub` file. */
  serverKey?: string | undefined;
  /** The secret key of this client. */
  key?: string | undefined;
  /** The `.key` file of this client, instead of `key`. */
  keyFile?: string | undefined;
}

/** Return the keys of a client, from its options or else from the environment; undefined without any. */
export function clientKeys(options: KeyOptions): ClientKeys | undefined {
  let { key, keyFile } = options;
  if (key !== undefined && keyFile !== undefined)
    throw new BadValue("both key and keyFile are given; pass one of them");
  if (key === undefined && keyFile === undefined) {
    key = process.env[VARIABLES.key] || undefined;
    keyFile = process.env[VARIABLES.file] || undefined;
    if (key !== undefined && keyFile !== undefined) {
      throw new BadValue(`both ${VARIABLES.key} and ${VARIABLES.file} are set; set one of them`);
    }
  }
  const serverKey = options.serverKey ?? (process.env[VARIABLES.server] || undefined);
  if (key === undefined && keyFile === undefined && serverKey === undefined) return undefined;
  if (serverKey === undefined) {
    throw new BadValue(
      `a client with a key needs the daemon's public key too: pass serverKey (or set ${VARIABLES.server}), ` +
        "as text or as the path of the daemon's .pub file",
    );
  }
  const server = serverKey.endsWith(".pub") ? readPublicKey(serverKey) : checkKey(serverKey, "serverKey");
  if (keyFile !== undefined) return { server, ...readKeyPair(keyFile) };
  if (key !== undefined) return { server, public: publicKey(checkKey(key, "key")), secret: key };
  throw new BadValue(
    `serverKey is given, but no key of this client: pass keyFile (or set ${VARIABLES.file}); make a ` +
      "key with " +
      "`streamlearn keygen NAME`",
  );
}

/** Return the key pair of a `.key` file. */
export function readKeyPair(path: string): { public: string; secret: string } {
  const secret = readFacts(path, true).get("secret");
  if (secret === undefined || !KEY.test(secret)) {
    throw new BadValue(
      `${path} has no secret key; pass the NAME.key file of \`streamlearn keygen\`, not NAME.pub`,
    );
  }
  return { public: publicKey(secret), secret };
}

/** Return the public key of a `.pub` file. */
export function readPublicKey(path: string): string {
  const found = readFacts(path, false);
  if (found.has("secret")) {
    throw new BadValue(
      `${path} contains a secret key, which belongs on its owner's host only; use the NAME.pub file`,
    );
  }
  return checkKey(found.get("public"), `public in ${path}`);
}

/** Return the public key that belongs to a secret key, both in Z85. */
export function publicKey(secret: string): string {
  const key = createPrivateKey({
    key: Buffer.concat([PKCS8, fromZ85(secret)]),
    format: "der",
    type: "pkcs8",
  });
  return toZ85(createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32));
}

/** The error does not show the text: it may be a secret. */
function checkKey(text: unknown, what: string): string {
  if (typeof text === "string" && KEY.test(text)) return text;
  throw new BadValue(
    `${what} is not a key; expected the 40 characters of Z85 that \`streamlearn keygen\` wrote`,
  );
}

/** Return the facts of a key file: lines of TOML, each a name and a text. */
function readFacts(path: string, secret: boolean): Map<string, string> {
  let text: string;
  try {
    const file = openSync(path, "r");
    try {
      const mode = fstatSync(file).mode & 0o777;
      if (secret && process.platform !== "win32" && mode & TOO_OPEN) {
        throw new BadValue(
          `${path} has mode ${mode.toString(8).padStart(4, "0")}, so other users can read or replace ` +
            "this secret key; " +
            `run: chmod 600 ${path}`,
        );
      }
      text = readFileSync(file, "utf8");
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (error instanceof BadValue) throw error;
    throw new BadValue(`can't read the key file ${path}: ${(error as Error).message}`);
  }
  const facts = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const found = /^\s*([A-Za-z_]+)\s*=\s*(["'])(.*)\2\s*(#.*)?$/.exec(line);
    if (found) facts.set(found[1]!, found[3]!);
  }
  return facts;
}

function fromZ85(text: string): Buffer {
  const bytes = Buffer.alloc((text.length / 5) * 4);
  for (let i = 0; i < text.length; i += 5) {
    const value = [...text.slice(i, i + 5)].reduce((sum, digit) => sum * 85 + DIGITS.indexOf(digit), 0);
    bytes.writeUInt32BE(value % 2 ** 32, (i / 5) * 4);
  }
  return bytes;
}

function toZ85(bytes: Buffer): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 4) {
    let value = bytes.readUInt32BE(i);
    let group = "";
    for (let k = 0; k < 5; k++) {
      group = DIGITS[value % 85] + group;
      value = Math.floor(value / 85);
    }
    text += group;
  }
  return text;
}
