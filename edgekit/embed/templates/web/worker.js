// The model on a thread of its own, so that the page stays responsive.
//
//     page -> { id, kind: "open", settings }      -> progress..., facts about the model
//     page -> { id, kind: "classify", pixels }    -> the likeliest classes and the times it took

import { createSessionFrom, openPacked, readSource } from "./edgekit.js";
import { prepare } from "./pictures.js";
import { likeliest } from "./scores.js";

const DECODER = new URL("edgekit_decode.wasm", import.meta.url);
const VENDOR = new URL("vendor/", import.meta.url);
const MOST_THREADS = 4; // light networks gain nothing from more
const SHOWN_CLASSES = 5;

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
  const loading = loadRuntime();
  loading.catch(() => {}); // told below, if nothing fails before
  const onProgress = (done, total) =>
    self.postMessage({ kind: "progress", done, total: total || settings.packedBytes });
  const [bytes, wasm] = await Promise.all([
    readSource(new URL(settings.packed, import.meta.url), { onProgress }),
    readSource(DECODER).then((code) => WebAssembly.compile(code)),
  ]);
  const [[packed, weights], decodeMs] = await timed(async () => {
    const opened = await openPacked(bytes, { wasm });
    return [opened, opened.restore()];
  });
  ort = await loading;
  const [made, sessionMs] = await timed(() => createSessionFrom(ort, packed, weights));
  session = made;
  return {
    sha256: packed.sha256,
    packedBytes: packed.packedBytes,
    restoredBytes: packed.restoredBytes,
    tensors: packed.tensors.length,
    threads: ort.env.wasm.numThreads,
    decodeMs,
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

async function loadRuntime() {
  try {
    const runtime = await import(new URL("ort.wasm.min.mjs", VENDOR));
    runtime.env.wasm.wasmPaths = VENDOR.href;
    // Threads share memory, which browsers allow to isolated pages alone.
    runtime.env.wasm.numThreads = self.crossOriginIsolated
      ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1)
      : 1;
    return runtime;
  } catch (error) {
    throw new Error(
      "onnxruntime-web isn't in the folder vendor: run `npm install --ignore-scripts` and " +
        "`npm run vendor` beside index.html, then reload",
      { cause: error },
    );
  }
}

async function timed(work) {
  const start = performance.now();
  return [await work(), performance.now() - start];
}
