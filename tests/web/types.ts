// Uses of edgekit.js that have to compile, with onnxruntime-web's own types. Never run.

import * as ort from "onnxruntime-web";

import { createSession, createSessionFrom, FormatError, openPacked } from "./edgekit.js";
import type { PackedModel, TensorData, Weight } from "./edgekit.js";

export async function uses(bytes: Uint8Array): Promise<ort.InferenceSession> {
  const packed: PackedModel = await openPacked("model.ekp", {
    onProgress: (done, total) => console.log(done / total),
    signal: AbortSignal.timeout(1000),
    maxBytes: 2 ** 20,
  });
  const [major] = packed.version;
  const first: TensorData = packed.decode(0);
  const weights: Weight[] = packed.restore();
  console.log(major, first.length, weights[0]?.dims.length, packed.manifest["name"]);
  try {
    await openPacked(bytes, { wasm: new URL("edgekit_decode.wasm", import.meta.url) });
  } catch (error) {
    if (error instanceof FormatError) console.log(error.tensor);
  }
  await createSessionFrom(ort, packed, weights);
  return createSession(ort, packed, { session: { executionProviders: ["wasm"] } });
}

// @ts-expect-error a number isn't a source
void openPacked(7);
// @ts-expect-error the version can't be changed
void openPacked("").then((packed) => (packed.version = [2, 0]));
