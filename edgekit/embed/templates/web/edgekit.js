// Opens packed models (.ekp) in browsers and Node, and makes onnxruntime sessions of them.
//
//     const packed = await openPacked("model.ekp", { onProgress: (done, total) => {} });
//     const session = await createSession(ort, packed);
//
// Every byte is checked before it is believed: header, directory, sections, SHA-256, records, and
// each chunk before it is decoded. A file that breaks the format ends in the error of its rule.
// Decoding happens in a small WebAssembly module beside this file; nothing else is fetched.
// Works on any thread; a page that stays responsive does it in a worker.

import { ChecksumError, CorruptError, FormatError, InputError, LimitError } from "./errors.js";
import { TruncatedError, VersionError } from "./errors.js";
import { SECTIONS, readManifest, readNames, unpack } from "./sections.js";
import { fillSkeleton } from "./skeleton.js";

export * from "./errors.js";

const MAX_RESTORED_BYTES = 2 ** 30; // a page with more weights than this is killed on phones
const SHA256_BYTES = 32;

// Restored types in the order of docs/format.md, 3.2. JavaScript has no 16-bit floats everywhere,
// so those are patterns in a Uint16Array.
const TYPES = [
  null,
  ["float32", Float32Array],
  ["float16", Uint16Array],
  ["bfloat16", Uint16Array],
  ["float64", Float64Array],
  ["int8", Int8Array],
  ["uint8", Uint8Array],
  ["int32", Int32Array],
  ["int64", BigInt64Array],
];

// ekd_result of edgekit_decode.h: what is wrong, and the error that says so.
const OK = 0;
const END = 1;
const RESULTS = {
  2: [TruncatedError, "the packed file ends too early; get it again"],
  3: [ChecksumError, "the packed file doesn't match its check sums; get it again"],
  4: [VersionError, "the packed file is of a newer format; use a newer edgekit"],
  5: [CorruptError, "not a packed file, or one that breaks the format"],
  6: [LimitError, "the packed file is larger than this decoder allows"],
};

let builtIn; // the decoder's module, compiled once

/** Checks a packed file and reads all of it but the weights. */
export async function openPacked(source, options = {}) {
  const { wasm, maxBytes = MAX_RESTORED_BYTES } = options;
  const [data, module] = await Promise.all([readSource(source, options), decoderModule(wasm)]);
  const decoder = new Decoder(await WebAssembly.instantiate(module));
  const result = decoder.open(data);
  const isSound = result === OK || decoder.exports.ekw_container_is_sound();
  // Hashing takes a thread of its own meanwhile. Errors come in the order of the format's chapter
  // 7: the SHA-256, the records, the other sections.
  const matching = isSound && decoder.matchesSha256(data);
  const unpacking = result === OK && unpackSections(data);
  if (unpacking) unpacking.catch(() => {});
  if (isSound && !(await matching)) {
    throw new ChecksumError("the file doesn't match its SHA-256; get it again");
  }
  check(result);
  const records = decoder.records();
  const restoredBytes = records.reduce((sum, record) => sum + record.bytes, 0);
  if (restoredBytes > maxBytes) {
    throw new LimitError(
      `the weights take ${restoredBytes} bytes, more than the ${maxBytes} that the caller allows`,
    );
  }
  const [names, skeleton, manifest] = await unpacking;
  readNames(names, records.length).forEach((name, index) => (records[index].name = name));
  return new PackedModel(data, decoder, records, skeleton, readManifest(manifest), restoredBytes);
}

async function unpackSections(data) {
  const { names, skeleton, manifest } = SECTIONS;
  const started = [names, skeleton, manifest].map((kind) => unpack(data, kind));
  for (const section of started) section.catch(() => {});
  // One after the other: of two damaged sections the first is named.
  const unpacked = [];
  for (const section of started) unpacked.push(await section);
  return unpacked;
}

/** A validated packed file, whose tensors are decoded when they are asked for. */
export class PackedModel {
  #decoder;
  #records;

  constructor(data, decoder, records, skeleton, manifest, restoredBytes) {
    const view = new DataView(data.buffer, data.byteOffset);
    this.#decoder = decoder;
    this.#records = records;
    this.version = Object.freeze([view.getUint16(8, true), view.getUint16(10, true)]);
    this.digest = hex(data.subarray(data.length - SHA256_BYTES));
    this.tensors = Object.freeze(
      records.map(({ name, type, dims, elements, bytes }) =>
        Object.freeze({ name, type, dims, elements, bytes }),
      ),
    );
    this.skeleton = skeleton;
    this.manifest = manifest;
    this.packedBytes = data.length;
    this.restoredBytes = restoredBytes;
  }

  /** The restored elements of one tensor. */
  decode(index) {
    const record = this.#records[index];
    if (!record) throw new RangeError(`no tensor ${index}: there are ${this.#records.length}`);
    return this.#decoder.decode(index, record);
  }

  /** All weights, in the order of the file. onProgress(done, total) gets restored bytes. */
  restore({ onProgress } = {}) {
    let done = 0;
    return this.tensors.map(({ name, type, dims, bytes }, index) => {
      const data = this.decode(index);
      onProgress?.((done += bytes), this.restoredBytes);
      return { name, type, dims, data };
    });
  }
}

/**
 * An onnxruntime session with the weights from memory.
 *
 * ort: the module onnxruntime-web or onnxruntime-node. source: a PackedModel, or what openPacked
 * takes. options: those of openPacked, and `session`, the options of onnxruntime's session.
 */
export async function createSession(ort, source, options = {}) {
  const packed = source instanceof PackedModel ? source : await openPacked(source, options);
  return createSessionFrom(ort, packed, packed.restore(), options.session);
}

/** The same from weights that `restore` gave, for callers that time both parts. */
export function createSessionFrom(ort, packed, weights, session = {}) {
  const { model, locations } = fillSkeleton(packed.skeleton, packed.tensors);
  const externalData = weights.map(({ data }, index) => ({
    path: locations[index],
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  }));
  return ort.InferenceSession.create(model, { ...session, externalData });
}

/** The module's exports, and the file in its memory. */
class Decoder {
  constructor(instance) {
    this.exports = instance.exports;
  }

  open(data) {
    const at = this.exports.ekw_place(data.length);
    if (!at) throw new LimitError(`a file of ${data.length} bytes is too large for this decoder`);
    new Uint8Array(this.exports.memory.buffer).set(data, at);
    return this.exports.ekw_open();
  }

  async matchesSha256(data) {
    const subtle = globalThis.crypto?.subtle;
    if (!subtle) return Boolean(this.exports.ekw_sha256_matches()); // a page over plain http
    const end = data.length - SHA256_BYTES;
    const digest = new Uint8Array(await subtle.digest("SHA-256", data.subarray(0, end)));
    return digest.every((byte, index) => byte === data[end + index]);
  }

  records() {
    const records = [];
    let result = this.exports.ekw_first();
    for (; result === OK; result = this.exports.ekw_next()) {
      const { type, rank, elements, elementBytes, recordAt, payloadAt, dims } = this.#describe();
      records.push({
        name: "",
        type: TYPES[type][0],
        Array: TYPES[type][1],
        dims: Object.freeze([...dims.subarray(0, rank)]),
        elements,
        bytes: elements * elementBytes,
        recordAt,
        payloadAt,
      });
    }
    if (result !== END) check(result);
    return records;
  }

  /** Piece by piece into an array whose size was checked when the file was opened. */
  decode(index, record) {
    const { ekw_seek, ekw_begin, ekw_piece, memory } = this.exports;
    check(ekw_seek(index, record.recordAt, record.payloadAt), index);
    check(ekw_begin(), index);
    const restored = new record.Array(record.elements);
    const bytes = new Uint8Array(restored.buffer);
    let filled = 0;
    let result = ekw_piece();
    for (; result === OK; result = ekw_piece()) {
      const { pieceAt, pieceBytes } = this.#describe();
      bytes.set(new Uint8Array(memory.buffer, pieceAt, pieceBytes), filled);
      filled += pieceBytes;
    }
    if (result !== END) check(result, index);
    return restored;
  }

  /** The struct `described` of edgekit_decode.c. */
  #describe() {
    const words = new Uint32Array(this.exports.memory.buffer, this.exports.ekw_tensor(), 16);
    const [type, rank, elements, elementBytes, recordAt, payloadAt, pieceAt, pieceBytes] = words;
    const dims = words.subarray(8);
    return { type, rank, elements, elementBytes, recordAt, payloadAt, pieceAt, pieceBytes, dims };
  }
}

function check(result, tensor) {
  if (result === OK) return;
  const [Kind, message] = RESULTS[result] ?? [FormatError, `the decoder answers ${result}`];
  throw new Kind(message, { tensor });
}

async function decoderModule(wasm) {
  if (wasm instanceof WebAssembly.Module) return wasm;
  if (wasm) return WebAssembly.compile(await readSource(wasm));
  builtIn ??= readSource(new URL("edgekit_decode.wasm", import.meta.url)).then((bytes) =>
    WebAssembly.compile(bytes),
  );
  return builtIn;
}

/** Bytes of a buffer as they are, or of an address: a URL, in Node also a file: URL. */
export async function readSource(source, { onProgress, signal } = {}) {
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (ArrayBuffer.isView(source)) {
    return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  }
  try {
    if (source instanceof URL && source.protocol === "file:") {
      const { readFile } = await import("node:fs/promises");
      return new Uint8Array(await readFile(source));
    }
    const response = await fetch(source, { signal });
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    return await readBody(response, onProgress);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new InputError(`can't read ${source}: ${error.message}`, { cause: error });
  }
}

/** A response's bytes, with progress where its length is known. */
async function readBody(response, onProgress) {
  // The length is that on the wire: with a content coding it says nothing about the bytes here.
  const isCoded = response.headers.get("content-encoding");
  const total = isCoded ? 0 : Number(response.headers.get("content-length") ?? 0);
  if (!response.body || !onProgress) return new Uint8Array(await response.arrayBuffer());
  const parts = [];
  let done = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { value, done: isEnd } = await reader.read();
    if (isEnd) break;
    parts.push(value);
    onProgress((done += value.length), total);
  }
  const bytes = new Uint8Array(done);
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return bytes;
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
