// Gives the weightless initializers of an ONNX graph a place outside it, as onnxruntime wants it.
//
// A skeleton's initializers say that their data lie elsewhere, but not where. This adds a location
// of its own to each, field by field in the protocol-buffer encoding, and copies all else as it is:
//
//     ModelProto.graph (7) -> GraphProto.initializer (5), GraphProto.node (1)
//     NodeProto.attribute (5) -> AttributeProto.g (6), graphs (11)

import { CorruptError } from "./errors.js";

const MODEL = { graph: 7 };
const GRAPH = { node: 1, initializer: 5 };
const NODE = { attribute: 5 };
const ATTRIBUTE = { g: 6, graphs: 11 };
const TENSOR = { dims: 1, type: 2, name: 8, externalData: 13, dataLocation: 14 };
const EXTERNAL = 1;
const VARINT = 0;
const LENGTH = 2;
const MAX_DEPTH = 64; // graphs within graphs; more is no network

// Numbers of ONNX's element types.
const ONNX_TYPES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  float16: 10,
  float64: 11,
  bfloat16: 16,
};

/**
 * The model with a location for each tensor, and these locations in the tensors' order.
 * Throws CorruptError where skeleton and tensors disagree about names, shapes or types.
 */
export function fillSkeleton(skeleton, tensors) {
  const locations = tensors.map((_, index) => `tensor${index}`);
  const waiting = new Map(tensors.map((tensor, index) => [tensor.name, index]));
  const place = (initializer) => {
    const fields = readTensor(initializer);
    if (fields.location !== EXTERNAL) return initializer;
    const index = waiting.get(fields.name);
    if (index === undefined || fields.isPlaced) {
      throw new CorruptError(`the file has no weights for the initializer ${fields.name}`);
    }
    const { type, dims } = tensors[index];
    if (fields.type !== ONNX_TYPES[type] || fields.dims.join() !== dims.join()) {
      throw new CorruptError(
        `the tensor ${fields.name} has another type or shape in the graph than in the file`,
      );
    }
    waiting.delete(fields.name);
    const entry = [...field(1, utf8("location")), ...field(2, utf8(locations[index]))];
    return join([initializer, field(TENSOR.externalData, Uint8Array.from(entry))]);
  };
  const model = rewrite(skeleton, { [MODEL.graph]: (bytes) => rewriteGraph(bytes, place, 0) });
  for (const name of waiting.keys()) {
    throw new CorruptError(`the skeleton has no empty initializer for the tensor ${name}`);
  }
  return { model, locations };
}

function rewriteGraph(bytes, place, depth) {
  if (depth > MAX_DEPTH) throw new CorruptError("the skeleton's graphs are nested beyond reason");
  const graph = (inner) => rewriteGraph(inner, place, depth + 1);
  const attribute = (inner) => rewrite(inner, { [ATTRIBUTE.g]: graph, [ATTRIBUTE.graphs]: graph });
  const node = (inner) => rewrite(inner, { [NODE.attribute]: attribute });
  return rewrite(bytes, { [GRAPH.initializer]: place, [GRAPH.node]: node });
}

/** A message in which some submessages are replaced by what their function makes of them. */
function rewrite(bytes, changes) {
  const parts = [];
  let copied = 0;
  for (const { number, wire, start, from, to } of fields(bytes)) {
    const change = wire === LENGTH ? changes[number] : undefined;
    if (!change) continue;
    const before = bytes.subarray(from, to);
    const after = change(before);
    if (after === before) continue;
    parts.push(bytes.subarray(copied, start), field(number, after));
    copied = to;
  }
  if (!parts.length) return bytes;
  parts.push(bytes.subarray(copied));
  return join(parts);
}

/** What decides about an initializer. */
function readTensor(bytes) {
  const tensor = { name: "", type: 0, dims: [], location: 0, isPlaced: false };
  for (const { number, wire, value, from, to } of fields(bytes)) {
    if (number === TENSOR.name) tensor.name = new TextDecoder().decode(bytes.subarray(from, to));
    if (number === TENSOR.type) tensor.type = value;
    if (number === TENSOR.dataLocation) tensor.location = value;
    if (number === TENSOR.externalData) tensor.isPlaced = true;
    if (number === TENSOR.dims && wire === VARINT) tensor.dims.push(value);
    if (number === TENSOR.dims && wire === LENGTH) {
      for (let at = from; at < to; ) {
        const next = readVarint(bytes, at);
        tensor.dims.push(next.value);
        at = next.end;
      }
    }
  }
  return tensor;
}

/** The fields of a message: number, wire type, where it starts, and its contents from..to. */
function* fields(bytes) {
  for (let start = 0; start < bytes.length; ) {
    const key = readVarint(bytes, start);
    const wire = key.value & 7;
    const number = Math.floor(key.value / 8);
    let from = key.end;
    let to;
    let value = 0;
    if (wire === VARINT) ({ value, end: to } = readVarint(bytes, from));
    else if (wire === LENGTH) {
      const length = readVarint(bytes, from);
      from = length.end;
      to = from + length.value;
    } else if (wire === 1) to = from + 8;
    else if (wire === 5) to = from + 4;
    if (!(to <= bytes.length)) throw new CorruptError("the skeleton isn't an ONNX model");
    yield { number, wire, value, start, from, to };
    start = to;
  }
}

/** A number and where it ends. Those above 2^53 are of no field that is looked at. */
function readVarint(bytes, at) {
  let value = 0;
  let scale = 1;
  for (let end = at; end < Math.min(at + 10, bytes.length); scale *= 128) {
    const byte = bytes[end++];
    value += (byte & 127) * scale;
    if (byte < 128) return { value, end };
  }
  throw new CorruptError("the skeleton isn't an ONNX model");
}

function varint(value) {
  const bytes = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return [...bytes, value];
}

function field(number, contents) {
  return join([
    Uint8Array.from([...varint(number * 8 + LENGTH), ...varint(contents.length)]),
    contents,
  ]);
}

function utf8(text) {
  return new TextEncoder().encode(text);
}

function join(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}
