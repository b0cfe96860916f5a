// The packed sections of a file (docs/format.md, 2.3): names, skeleton and manifest.

import { CorruptError, LimitError, TruncatedError } from "./errors.js";

/** Kinds of these sections. */
export const SECTIONS = { names: 3, skeleton: 4, manifest: 5 };

// Of unpacked bytes, by kind (chapter 8).
const LIMITS = { 3: 2 ** 26, 4: 2 ** 28, 5: 2 ** 24 };
const LABELS = { 3: "names", 4: "skeleton", 5: "manifest" };
const MAX_DEFLATE_RATIO = 1032; // deflate can't do better
const DIRECTORY_AT = 32;
const ENTRY_BYTES = 24;

/** The contents of one packed section of a file whose directory holds. */
export async function unpack(data, kind) {
  const limit = LIMITS[kind];
  const label = `the ${LABELS[kind]} section`;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const entry = DIRECTORY_AT + (kind - 1) * ENTRY_BYTES;
  const offset = Number(view.getBigUint64(entry + 8, true));
  const bytes = Number(view.getBigUint64(entry + 16, true));
  if (bytes < 4) throw new TruncatedError(`${label} ends inside its length`);
  const length = view.getUint32(offset, true);
  const stream = data.subarray(offset + 4, offset + bytes);
  if (length > limit) throw new LimitError(`${label} unpacks to more than ${limit} bytes`);
  if (length > MAX_DEFLATE_RATIO * stream.length) {
    throw new CorruptError(`${label}: ${stream.length} bytes can't unpack to ${length}`);
  }
  const text = await inflate(stream, length, label);
  // Some engines stop at the stream's end without a word about bytes behind it. The stream ends
  // with the check sum of what it gives, so those four bytes tell whether it ends the section.
  const end = stream.length - 4;
  if (end < 2 || adler32(text) !== new DataView(stream.buffer, stream.byteOffset).getUint32(end)) {
    throw new CorruptError(`${label} has bytes behind its stream`);
  }
  return text;
}

/** Exactly `length` bytes from a zlib stream; no more are taken from it. */
async function inflate(stream, length, label) {
  const text = new Uint8Array(length);
  let filled = 0;
  try {
    const inflater = new Blob([stream]).stream().pipeThrough(new DecompressionStream("deflate"));
    for (const reader = inflater.getReader(); ; ) {
      const { value, done } = await reader.read();
      if (done) break;
      if (value.length > length - filled) {
        reader.cancel().catch(() => {}); // an error of the rest says no more than the one below
        filled = Infinity;
        break;
      }
      text.set(value, filled);
      filled += value.length;
    }
  } catch (error) {
    throw new CorruptError(`${label} is no whole zlib stream`, { cause: error });
  }
  if (filled !== length)
    throw new CorruptError(`${label} doesn't unpack to exactly ${length} bytes`);
  return text;
}

function adler32(bytes) {
  let low = 1;
  let high = 0;
  // Sums of this many bytes stay below 2^32.
  for (let start = 0; start < bytes.length; start += 5552) {
    const end = Math.min(start + 5552, bytes.length);
    for (let index = start; index < end; index++) {
      low += bytes[index];
      high += low;
    }
    low %= 65521;
    high %= 65521;
  }
  return ((high << 16) | low) >>> 0;
}

/** One name a tensor, each followed by a zero byte, none empty, none twice. */
export function readNames(text, count) {
  const names = decodeUtf8(text, "a name").split("\0");
  if (names.pop() !== "" || names.length !== count) throw new CorruptError(`not ${count} names`);
  if (names.includes("")) throw new CorruptError("a tensor has no name");
  if (new Set(names).size !== count) throw new CorruptError("two tensors have the same name");
  return names;
}

/** The manifest: a JSON object. */
export function readManifest(text) {
  let manifest;
  try {
    manifest = JSON.parse(decodeUtf8(text, "the manifest"));
  } catch (error) {
    if (error instanceof CorruptError) throw error;
    throw new CorruptError("the manifest isn't JSON", { cause: error });
  }
  if (typeof manifest !== "object" || manifest === null || Array.isArray(manifest)) {
    throw new CorruptError("the manifest isn't a JSON object");
  }
  return manifest;
}

function decodeUtf8(bytes, label) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new CorruptError(`${label} isn't UTF-8`, { cause: error });
  }
}
