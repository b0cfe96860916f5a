// Types of edgekit.js.

/** Names of element types; 16-bit floats come as patterns in a Uint16Array. */
export type ElementType =
  | "float32"
  | "float16"
  | "bfloat16"
  | "float64"
  | "int8"
  | "uint8"
  | "int32"
  | "int64";

export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Uint16Array
  | Int32Array
  | BigInt64Array;

/** A tensor of the file. bytes: when restored. */
export interface TensorInfo {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly elements: number;
  readonly bytes: number;
}

/** A tensor's restored elements, in C order of `dims`. */
export interface Weight {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly data: TensorData;
}

/** total is 0 where it isn't known. */
export type Progress = (done: number, total: number) => void;

/** Bytes, or an address: under Node also a file: URL. */
export type Source = ArrayBuffer | ArrayBufferView | URL | string;

export interface ReadOptions {
  /** Called with bytes while an address is read. */
  onProgress?: Progress;
  signal?: AbortSignal;
}

export interface OpenOptions extends ReadOptions {
  /** The decoder; by default edgekit_decode.wasm beside edgekit.js. */
  wasm?: WebAssembly.Module | Source;
  /** The most that the restored weights may take; 1 GiB by default. */
  maxBytes?: number;
}

/** A validated packed file. */
export class PackedModel {
  private constructor();
  /** Major and minor version of the format. */
  readonly version: readonly [number, number];
  /** The SHA-256 that the file ends with, of all bytes before it, in hexadecimal; it was checked. */
  readonly digest: string;
  readonly tensors: readonly TensorInfo[];
  readonly manifest: Record<string, unknown>;
  /** The ONNX graph without weights, serialized. */
  readonly skeleton: Uint8Array;
  readonly packedBytes: number;
  readonly restoredBytes: number;
  /** One tensor's elements. Throws RangeError, and the FormatError of a damaged chunk. */
  decode(index: number): TensorData;
  /** All of them; onProgress gets restored bytes. Throws FormatError. */
  restore(options?: { onProgress?: Progress }): Weight[];
}

/** Checks a packed file and reads all but the weights. Rejects with InputError or FormatError. */
export function openPacked(source: Source, options?: OpenOptions): Promise<PackedModel>;

/** The bytes of a source. Rejects with InputError. */
export function readSource(source: Source, options?: ReadOptions): Promise<Uint8Array>;

/** What of onnxruntime is used: the module onnxruntime-web or onnxruntime-node. */
export interface Runtime<Session> {
  InferenceSession: {
    create(model: Uint8Array, options?: Record<string, unknown>): Promise<Session>;
  };
}

export interface SessionOptions extends OpenOptions {
  /** Options of onnxruntime's own. */
  session?: Record<string, unknown>;
}

/** A session with the weights from memory. Rejects with InputError or FormatError. */
export function createSession<Session>(
  ort: Runtime<Session>,
  source: PackedModel | Source,
  options?: SessionOptions,
): Promise<Session>;

/** The same from weights that PackedModel.restore gave. */
export function createSessionFrom<Session>(
  ort: Runtime<Session>,
  packed: PackedModel,
  weights: readonly Weight[],
  session?: Record<string, unknown>,
): Promise<Session>;

export class EdgekitError extends Error {}
/** A file that can't be read. */
export class InputError extends EdgekitError {}
/** A packed file that breaks the format. tensor: the index of the tensor concerned. */
export class FormatError extends InputError {
  readonly tensor?: number;
}
export class TruncatedError extends FormatError {}
export class ChecksumError extends FormatError {}
export class VersionError extends FormatError {}
export class CorruptError extends FormatError {}
export class LimitError extends FormatError {}
