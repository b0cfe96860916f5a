// The part of web_decode.py that runs under Node: node web_decode.mjs LOADER PACKED ROUNDS
//
// Prints JSON: seconds of each round, from the file's bytes to all weights, and their SHA-256.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [loader, path, rounds] = process.argv.slice(2);
const { openPacked } = await import(pathToFileURL(loader));
const data = await readFile(path);

let weights;
const times_s = [];
for (let round = 0; round < Number(rounds); round++) {
  const start = performance.now();
  const packed = await openPacked(data);
  weights = packed.restore();
  times_s.push((performance.now() - start) / 1000);
}
const sha256 = createHash("sha256");
for (const weight of weights) sha256.update(weight.data);
console.log(JSON.stringify({ times_s, sha256: sha256.digest("hex"), node: process.version }));
