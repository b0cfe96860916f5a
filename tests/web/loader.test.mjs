// The loader against the golden vectors, and against files that mean harm.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import test from "node:test";

import { GOLDEN, PAGE, bytesOf, crc32c, readJson } from "./support.mjs";

const loader = await import(new URL("edgekit.js", PAGE));
const { FormatError, LimitError, openPacked } = loader;

const golden = async (kind) =>
  (await readdir(new URL(kind, GOLDEN)))
    .filter((name) => name.endsWith(".ekp"))
    .map((name) => new URL(`${kind}${name}`, GOLDEN));

/** The error's name, or what the file holds. */
async function open(data) {
  try {
    const packed = await openPacked(data);
    return { packed, weights: packed.restore() };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return { error };
  }
}

test("every file to be accepted gives the same bytes as Python", async () => {
  const files = await golden("accept/");
  assert.ok(files.length > 50);

  for (const file of files) {
    const { packed, weights } = await open(await readFile(file));
    const { tensors } = await readJson(new URL(file.href.replace(/\.ekp$/, ".json")));

    const found = weights.map(({ name, dims, type, data }) => ({
      name,
      shape: [...dims],
      dtype: type,
      crc: crc32c(bytesOf(data)),
    }));
    const expected = tensors.map(({ name, shape, dtype, restored_crc32c: crc }) => ({
      name,
      shape,
      dtype,
      crc,
    }));
    assert.deepEqual(found, expected, file.pathname);
    assert.equal(packed.version[0], 1);
  }
});

test("every file to be rejected is rejected with Python's error", async () => {
  const expected = await readJson(new URL("reject/expected.json", GOLDEN));
  assert.ok(Object.keys(expected).length > 100);

  for (const [name, { error, rule }] of Object.entries(expected)) {
    const found = await open(await readFile(new URL(`reject/${name}.ekp`, GOLDEN)));

    assert.equal(found.error?.name, error, `${name}: ${rule}`);
  }
});

test("tensors decode in any order", async () => {
  const packed = await openPacked(await readFile(new URL("accept/several_tensors.ekp", GOLDEN)));
  const inOrder = packed.restore().map(({ data }) => data);

  for (const index of [2, 0, 1, 2]) assert.deepEqual(packed.decode(index), inOrder[index]);

  assert.throws(() => packed.decode(3), RangeError);
});

test("damage anywhere is noticed", async () => {
  for (const vector of ["mask_four_streams", "rans_gap", "channels_exceptions", "trellis"]) {
    const good = await readFile(new URL(`accept/${vector}.ekp`, GOLDEN));
    for (let at = 0; at < good.length; at++) {
      const bad = Uint8Array.from(good);
      bad[at] ^= 0x55;
      assert.ok((await open(bad)).error, `${vector}: byte ${at}`);

      const { error } = await open(good.subarray(0, at));
      assert.equal(error?.name, "TruncatedError", `${vector}: cut at ${at}`);
    }
  }
});

test("records that lie end in an error of the format, never in a trap", async () => {
  const next = randomNumbers(7);
  const errors = new Map();
  for (const file of await golden("accept/")) {
    const good = await readFile(file);
    const [offset, bytes] = section(good, 1);
    for (let round = 0; round < 40 && bytes > 0; round++) {
      const bad = Uint8Array.from(good);
      for (let count = 1 + (next() % 3); count; count--) bad[offset + (next() % bytes)] = next();
      const { error } = await open(withChecks(bad));
      errors.set(error?.name, 1 + (errors.get(error?.name) ?? 0));
    }
  }

  // The changes reached behind the check sums: every kind of refusal occurs.
  for (const name of ["TruncatedError", "ChecksumError", "CorruptError", "LimitError"]) {
    assert.ok(errors.get(name) > 0, name);
  }
});

test("a page without a secure context checks the SHA-256 too", async () => {
  const subtle = Object.getOwnPropertyDescriptor(globalThis, "crypto");
  Object.defineProperty(globalThis, "crypto", { value: {}, configurable: true });
  try {
    for (const file of await golden("accept/")) {
      assert.ok((await open(await readFile(file))).packed, file.pathname);
    }
    const { error } = await open(await readFile(new URL("reject/sha256.ekp", GOLDEN)));
    assert.equal(error.name, "ChecksumError");
  } finally {
    if (subtle) Object.defineProperty(globalThis, "crypto", subtle);
    else delete globalThis.crypto;
  }
});

test("weights beyond the caller's limit are refused before any is decoded", async () => {
  const data = await readFile(new URL("model.ekp", PAGE));
  const { restoredBytes } = await openPacked(data);

  await openPacked(data, { maxBytes: restoredBytes });
  await assert.rejects(openPacked(data, { maxBytes: restoredBytes - 1 }), LimitError);
});

test("the decoder's memory stays near the file's size, and is capped", async () => {
  const wasm = await WebAssembly.compile(await readFile(new URL("edgekit_decode.wasm", PAGE)));
  const { exports } = await WebAssembly.instantiate(wasm);
  const small = exports.memory.buffer.byteLength;

  assert.ok(small <= 256 << 10);
  for (const bytes of [512 << 20, 2 ** 31, 2 ** 32 - 1]) assert.equal(exports.ekw_place(bytes), 0);
  assert.equal(exports.memory.buffer.byteLength, small);
  assert.ok(exports.ekw_place(1 << 20) > 0);
  assert.ok(exports.memory.buffer.byteLength < (1 << 20) + (1 << 20));
});

test("an address that can't be read is an InputError", async () => {
  const { InputError } = loader;

  await assert.rejects(openPacked("http://127.0.0.1:1/model.ekp"), (error) => {
    assert.equal(error.name, "InputError");
    assert.ok(error instanceof InputError && !(error instanceof FormatError));
    return true;
  });
  await assert.rejects(openPacked(new URL("no.ekp", PAGE)), InputError);
});

test("the types name all that the module exports, and nothing else", async () => {
  const text = await readFile(new URL("edgekit.d.ts", PAGE), "utf8");

  const declared = [...text.matchAll(/^export (?:class|function) (\w+)/gm)].map(
    (match) => match[1],
  );

  assert.deepEqual(declared.sort(), Object.keys(loader).sort());
});

/** Offset and length of a section. */
function section(data, kind) {
  const view = new DataView(data.buffer, data.byteOffset);
  const entry = 32 + (kind - 1) * 24;
  return [Number(view.getBigUint64(entry + 8, true)), Number(view.getBigUint64(entry + 16, true))];
}

/** The file with the check sums of its tensor section, its header and itself made right. */
function withChecks(data) {
  const view = new DataView(data.buffer);
  const [offset, bytes] = section(data, 1);
  const directoryEnd = 32 + 24 * view.getUint32(28, true);
  view.setUint32(32 + 4, crc32c(data.subarray(offset, offset + bytes)), true);
  view.setUint32(directoryEnd, crc32c(data.subarray(0, directoryEnd)), true);
  const end = data.length - 32;
  data.set(createHash("sha256").update(data.subarray(0, end)).digest(), end);
  return data;
}

/** A xorshift generator of bytes and larger numbers. */
function randomNumbers(seed) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
