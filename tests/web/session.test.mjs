// Sessions of packed files answer as in Python, in both of onnxruntime's JavaScript builds.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import test from "node:test";

import { FIXTURES, GOLDEN, PAGE, installed, readFloats, readJson } from "./support.mjs";

const { CorruptError, createSession, openPacked } = await import(new URL("edgekit.js", PAGE));
const { fillSkeleton } = await import(new URL("skeleton.js", PAGE));

const RELATIVE_TOLERANCE = 1e-5; // of the largest output
const networks = (await readdir(FIXTURES, { withFileTypes: true }))
  .filter((entry) => entry.isDirectory() && entry.name !== "pictures")
  .map((entry) => entry.name);

for (const runtime of ["onnxruntime-node", "onnxruntime-web"]) {
  const ort = await installed(runtime);
  if (runtime === "onnxruntime-web") ort.env.wasm.numThreads = 1;

  for (const network of networks) {
    test(`${network} answers in ${runtime} as in Python`, async () => {
      const folder = new URL(`${network}/`, FIXTURES);
      const { shape, digest } = await readJson(new URL("expected.json", folder));
      const packed = await openPacked(new URL("model.ekp", folder));
      const input = await readFloats(new URL("inputs.bin", folder));
      const expected = await readFloats(new URL("outputs.bin", folder));

      const session = await createSession(ort, packed);
      const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", input, shape) };
      const found = (await session.run(feeds))[session.outputNames[0]].data;

      assert.equal(packed.digest, digest);
      assert.equal(found.length, expected.length);
      const scale = Math.max(...expected.map(Math.abs));
      const error = Math.max(...expected.map((value, index) => Math.abs(value - found[index])));
      assert.ok(error <= RELATIVE_TOLERANCE * scale, `${error} of ${scale}`);
      const classes = expected.length / shape[0];
      for (let row = 0; row < shape[0]; row++) {
        const part = (scores) => scores.slice(row * classes, (row + 1) * classes);
        assert.equal(highest(part(found)), highest(part(expected)));
      }
      await session.release();
    });
  }
}

test("progress counts restored bytes up to all of them", async () => {
  const packed = await openPacked(new URL("model.ekp", PAGE));
  const steps = [];

  packed.restore({ onProgress: (done, total) => steps.push([done, total]) });

  assert.equal(steps.length, packed.tensors.length);
  assert.deepEqual(steps.at(-1), [packed.restoredBytes, packed.restoredBytes]);
});

test("a graph and tensors that disagree are refused", async () => {
  const { skeleton, tensors } = await openPacked(new URL("model.ekp", PAGE));
  const [first, ...rest] = tensors;
  const changes = {
    "a tensor too few": rest,
    "a tensor too many": [...tensors, { ...first, name: "another" }],
    "another name": [{ ...first, name: "another" }, ...rest],
    "another shape": [{ ...first, dims: [...first.dims, 1] }, ...rest],
    "another type": [{ ...first, type: "float16" }, ...rest],
  };

  fillSkeleton(skeleton, tensors);
  for (const [change, changed] of Object.entries(changes)) {
    assert.throws(() => fillSkeleton(skeleton, changed), CorruptError, change);
  }
  for (let end = 1; end < skeleton.length; end += 97) {
    assert.throws(() => fillSkeleton(skeleton.subarray(0, end), tensors), CorruptError);
  }
});

test("a file without a graph ends in onnxruntime's own error", async () => {
  const ort = await installed("onnxruntime-web");
  const data = await readFile(new URL("accept/no_tensors.ekp", GOLDEN));

  await assert.rejects(createSession(ort, data));
});

function highest(scores) {
  return scores.indexOf(Math.max(...scores));
}
