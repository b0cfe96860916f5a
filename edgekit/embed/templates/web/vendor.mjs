// Copies the files of onnxruntime-web that the page needs from node_modules into vendor/.
import { copyFile, mkdir } from "node:fs/promises";

const FILES = ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"];

const from = new URL("node_modules/onnxruntime-web/dist/", import.meta.url);
const to = new URL("vendor/", import.meta.url);

await mkdir(to, { recursive: true });
try {
  for (const file of FILES) await copyFile(new URL(file, from), new URL(file, to));
} catch (error) {
  console.error(`error: ${error.message}; run: npm install --ignore-scripts`);
  process.exit(1);
}
console.log(`vendor/: ${FILES.join(", ")}`);
