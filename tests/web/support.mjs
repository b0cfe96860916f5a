// What the web tests share: where things lie, packages, and a CRC-32C to compare with.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

export const ROOT = new URL("../../", import.meta.url);
/** Where run.sh puts what the tests need. */
export const BUILD = new URL("build/web/", ROOT);
export const GOLDEN = new URL("tests/golden/", ROOT);
/** A page of each network, and `pictures`: what fixtures.py wrote. */
export const FIXTURES = new URL("fixtures/", BUILD);
/** The loader as a page has it. */
export const PAGE = new URL("mobilenetv2_6bit/", FIXTURES);

const require = createRequire(new URL("package.json", BUILD));

/** A package of package.json, which lies outside this folder. */
export const installed = async (name) =>
  (await import(pathToFileURL(require.resolve(name)))).default;

export const readJson = async (url) => JSON.parse(await readFile(url, "utf8"));

export const readFloats = async (url) => {
  const bytes = await readFile(url);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};

export function crc32c(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

export const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
