// The model on a thread of its own, so that the page stays responsive.
//
//     page -> { id, kind: "open", settings }      -> stages..., facts about the model
//     page -> { id, kind: "classify", pixels }    -> the likeliest classes and the times it took

import { createSessionFrom, openPacked, readSource } from "./edgekit.js";
import { prepare } from "./pictures.js";
import { likeliest } from "./scores.js";

const DECODER = new URL("edgekit_decode.wasm", import.meta.url);
const VENDOR = new URL("vendor/", import.meta.url);
const MOST_THREADS = 4; // light networks gain nothing from more
const SHOWN_CLASSES = 5;
// ONNX: y = Identity(x), one float.
const SMALLEST_MODEL = Uint8Array.from(
  atob("CAc6NwoQCgF4EgF5IghJZGVudGl0eRIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0="),
  (character) => character.charCodeAt(0),
);

let ort;
let session;
let settings;

self.onmessage = async ({ data: { id, kind, ...message } }) => {
  try {
    const answer = await { open, classify }[kind](message);
    self.postMessage({ id, kind: "done", answer });
  } catch (error) {
    self.postMessage({ id, kind: "failed", name: error.name, message: error.message });
  }
};

async function open(message) {
  settings = message.settings;
  const starting = timed(startRuntime);
  starting.catch(() => {}); // told below, if nothing fails before
  const onProgress = (done, total) =>
    self.postMessage({ kind: "stage", stage: "model", done, total: total || settings.packedBytes });
  const [bytes, wasm] = await Promise.all([
    readSource(new URL(settings.packed, import.meta.url), { onProgress }),
    readSource(DECODER).then((code) => WebAssembly.compile(code)),
  ]);
  const [[packed, weights], decodeMs] = await timed(async () => {
    const opened = await openPacked(bytes, { wasm });
    return [opened, opened.restore()];
  });
  self.postMessage({ kind: "stage", stage: "runtime" });
  const [runtime, runtimeMs] = await starting;
  ort = runtime;
  const [made, sessionMs] = await timed(() => createSessionFrom(ort, packed, weights));
  session = made;
  return {
    digest: packed.digest,
    packedBytes: packed.packedBytes,
    threads: ort.env.wasm.numThreads,
    decodeMs,
    runtimeMs,
    sessionMs,
  };
}

async function classify({ pixels }) {
  const { input, shape } = prepare(pixels, settings.preprocess);
  const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", input, [1, ...shape]) };
  const [results, runMs] = await timed(() => session.run(feeds));
  const scores = results[session.outputNames[0]].data;
  return { classes: likeliest(scores, SHOWN_CLASSES), runMs };
}

/** onnxruntime-web, fetched and compiled: the first session does both, so it is a small one. */
async function startRuntime() {
  try {
    const runtime = await import(new URL("ort.wasm.min.mjs", VENDOR));
    runtime.env.wasm.wasmPaths = VENDOR.href;
    // Threads share memory, which browsers allow to isolated pages alone.
    runtime.env.wasm.numThreads = self.crossOriginIsolated
      ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1)
      : 1;
    await (await runtime.InferenceSession.create(SMALLEST_MODEL)).release();
    return runtime;
  } catch (error) {
    throw new Error(
      "the folder vendor has no working onnxruntime-web: run `npm install --ignore-scripts` and " +
        `\`npm run vendor\` beside index.html, then reload (${error.message})`,
      { cause: error },
    );
  }
}

async function timed(work) {
  const start = performance.now();
  return [await work(), performance.now() - start];
}
