// The check as WebAssembly: node wasm.mjs CHECK.wasm
import { readFile } from "node:fs/promises";

const bytes = await readFile(process.argv[2]);
const { instance } = await WebAssembly.instantiate(bytes, {});
const count = new DataView(instance.exports.memory.buffer).getUint32(
  instance.exports.check_vector_count.value,
  true,
);
const failed = instance.exports.check_all();
console.log(failed < count ? `vector ${failed} decodes otherwise than expected` : `${count} vectors`);
process.exit(failed < count ? 1 : 0);
