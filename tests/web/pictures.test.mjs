// Pictures become the same inputs as in Python, to one level of 255, and scores classes.
//
// Which axis Pillow shrinks first depends on its version and the sizes; pixels may round otherwise.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";

import { FIXTURES, PAGE, readFloats, readJson } from "./support.mjs";

const { prepare } = await import(new URL("pictures.js", PAGE));
const { likeliest } = await import(new URL("scores.js", PAGE));

const folder = new URL("pictures/", FIXTURES);

for (const { picture, settings, width, height, preprocess, shape } of await readJson(
  new URL("cases.json", folder),
)) {
  test(`${picture} prepared as ${settings}`, async () => {
    const data = await readFile(new URL(`${picture}.rgba`, folder));
    const expected = await readFloats(new URL(`${picture}-${settings}.bin`, folder));

    const found = prepare({ data, width, height }, preprocess);

    assert.deepEqual(found.shape, shape);
    const level = 1.001 / 255 / Math.min(...preprocess.std);
    const error = expected.reduce(
      (most, value, index) => Math.max(most, Math.abs(value - found.input[index])),
      0,
    );
    assert.equal(found.input.length, expected.length);
    assert.ok(error <= level, `${error} above ${level}`);
    if (picture === "same" && settings === "gray") assert.deepEqual(found.input, expected);
  });
}

test("scores become probabilities, and probabilities stay", () => {
  const scores = Float32Array.of(1, 1000, 999, -50);

  const best = likeliest(scores, 2);
  const again = likeliest(Float32Array.of(0.25, 0.5, 0.25), 3);

  assert.deepEqual(
    best.map(({ index }) => index),
    [1, 2],
  );
  assert.ok(Math.abs(best[0].share - 1 / (1 + Math.exp(-1))) < 1e-12);
  assert.deepEqual(again, [
    { index: 1, share: 0.5 },
    { index: 0, share: 0.25 },
    { index: 2, share: 0.25 },
  ]);
});
