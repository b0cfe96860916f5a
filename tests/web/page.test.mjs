// The page in headless Chromium, from `npm start`'s server and from Python's.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { BUILD, FIXTURES, PAGE, installed, readJson } from "./support.mjs";

const { chromium } = await installed("playwright-core");
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
];
const SERVERS = {
  isolated: ["node", ["serve.mjs", "0"]],
  plain: ["python3", ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]],
};
const SHOTS = new URL("screenshots/", BUILD);

let browser;
const servers = [];

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: FLAGS,
  });
  await mkdir(SHOTS, { recursive: true });
});

after(async () => {
  await browser?.close();
  for (const server of servers) server.kill();
});

for (const kind of Object.keys(SERVERS)) {
  test(`the sample and a file are classified (${kind})`, async () => {
    const { page, url, complaints } = await open(kind, PAGE);
    const { answers } = await readJson(new URL("expected.json", PAGE));
    const { labels } = await readJson(new URL("model.json", PAGE));

    assert.equal(await page.evaluate(() => crossOriginIsolated), kind === "isolated");
    await page.click("#sample");
    await page.waitForSelector("#classes li");
    assert.match(await page.innerText("#answer"), /^T-shirt\/top, [\d.]+%$/);
    for (const { picture, shares } of answers) {
      await page.setInputFiles("#file", fileURLToPath(new URL(picture, PAGE)));
      await page.waitForSelector(`#preview[aria-label="${picture}"]`);
      const expected = shares
        .map((share, index) => ({ name: labels[index], share }))
        .sort((a, b) => b.share - a.share)
        .slice(0, 5);
      await page.waitForFunction(
        (start) => document.getElementById("answer").textContent.startsWith(start),
        `${expected[0].name}, `,
      );
      // The page shows one decimal. Where a picture is shrunk, pixels may round otherwise.
      const tolerance = picture === "large.png" ? 1 : 0.06;
      await until(
        async () => {
          const rows = await page.$$eval("#classes li", (items) =>
            items.map((item) => [...item.children].slice(0, 2).map((child) => child.textContent)),
          );
          return rows.every(
            ([name, share], index) =>
              Math.abs(parseFloat(share) - 100 * expected[index].share) < tolerance &&
              (name === expected[index].name || expected[index].share < 0.01),
          );
        },
        `${picture}: ${JSON.stringify(expected)}`,
      );
    }

    const facts = await page.innerText("#facts");
    assert.match(facts, /\d+ kB of \d+ kB, \d\d\.\d% saved/);
    const cores = await page.evaluate(() => navigator.hardwareConcurrency);
    const threads = kind === "isolated" ? Math.min(4, cores) : 1;
    assert.match(facts, new RegExp(`s, ${threads} thread`));
    assert.deepEqual(complaints, []);
    assert.ok(page.requested.length >= 10);
    assert.deepEqual(
      page.requested.filter((address) => !address.startsWith(url)),
      [],
    );
    await page.context().close();
  });
}

test("a picture can be dropped, and one that isn't a picture is told", async () => {
  const { page, complaints } = await open("plain", PAGE);
  const drop = async (name, type, bytes) => {
    const transfer = await page.evaluateHandle(
      ([name, type, bytes]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(bytes)], name, { type }));
        return transfer;
      },
      [name, type, bytes],
    );
    await page.dispatchEvent("#stage", "drop", { dataTransfer: transfer });
  };

  await drop("notes.txt", "text/plain", [1, 2, 3]);
  await page.waitForSelector("#error:not([hidden])");
  assert.match(await page.innerText("#error"), /^This browser can't read notes\.txt as a picture$/);
  await drop("garment1.png", "image/png", [...(await readFile(new URL("garment1.png", PAGE)))]);
  await page.waitForSelector("#classes li");
  assert.equal(await page.isVisible("#error"), false);
  assert.deepEqual(complaints, []);
  await page.context().close();
});

test("the camera gives a picture, and is closed again", async () => {
  const { page, complaints } = await open("plain", PAGE);

  await page.click("#camera");
  await page.waitForFunction(() => document.getElementById("video").videoWidth > 0);
  assert.equal(await page.evaluate(() => document.activeElement.id), "capture");
  await page.click("#capture");
  await page.waitForSelector("#classes li");
  assert.equal(await page.isVisible("#video"), false);
  assert.equal(
    await page.evaluate(() =>
      document
        .getElementById("video")
        .srcObject.getTracks()
        .every((track) => track.readyState === "ended"),
    ),
    true,
  );
  await page.click("#camera");
  await page.waitForSelector("#stop:not([hidden])");
  await page.click("#stop");
  assert.equal(await page.isVisible("#camera"), true);
  assert.deepEqual(complaints, []);
  await page.context().close();
});

test("the keyboard alone is enough", async () => {
  const { page } = await open("plain", PAGE);
  const order = [];

  for (let press = 0; press < 3; press++) {
    await page.keyboard.press("Tab");
    order.push(await page.evaluate(() => document.activeElement.id));
  }
  await page.keyboard.press("Enter");
  await page.waitForSelector("#classes li");

  assert.deepEqual(order, ["choose", "camera", "sample"]);
  const [chooser] = await Promise.all([
    page.waitForEvent("filechooser"),
    page.keyboard
      .press("Shift+Tab")
      .then(() => page.keyboard.press("Shift+Tab"))
      .then(() => page.keyboard.press("Enter")),
  ]);
  assert.ok(chooser);
  await page.context().close();
});

for (const scheme of ["light", "dark"]) {
  test(`text is readable on phones and large screens (${scheme})`, async () => {
    for (const [width, height] of [
      [1100, 760],
      [320, 640],
      [390, 844],
    ]) {
      const { page } = await open("plain", PAGE, {
        viewport: { width, height },
        colorScheme: scheme,
      });
      await page.click("#sample");
      await page.waitForSelector("#classes li");

      const { overflow, weak } = await page.evaluate(measure);

      assert.equal(overflow, 0, `${width} pixels`);
      assert.deepEqual(weak, []);
      await page.screenshot({
        path: fileURLToPath(new URL(`${scheme}-${width}.png`, SHOTS)),
        fullPage: true,
        animations: "disabled",
      });
      await page.context().close();
    }
  });
}

test("a damaged or missing model is told in one sentence", async () => {
  const folder = new URL("damaged/", BUILD);
  await rm(folder, { recursive: true, force: true });
  await mkdir(new URL("vendor/", folder), { recursive: true });
  for (const name of await names(PAGE)) await copyFile(new URL(name, PAGE), new URL(name, folder));
  const data = await readFile(new URL("model.ekp", PAGE));
  const flipped = Uint8Array.from(data);
  flipped[data.length >> 1] ^= 1;
  const cases = [
    [flipped, "get it again (ChecksumError)"],
    [data.subarray(0, 1000), "ends too early; get it again (TruncatedError)"],
    [Buffer.from("<!doctype html><p>not found"), "Not a packed file"],
    [data, "npm run vendor"], // nothing lies in vendor/
    [null, "the server answers 404 (InputError)"],
  ];

  for (const [contents, message] of cases) {
    if (contents) await writeFile(new URL("model.ekp", folder), contents);
    else await rm(new URL("model.ekp", folder));
    const { page } = await open("plain", folder, {}, "#error:not([hidden])");

    const text = await page.innerText("#error");

    assert.ok(text.includes(message), text);
    assert.equal(await page.isVisible("#progress"), false);
    assert.equal(await page.isDisabled("#sample"), true);
    await page.context().close();
  }
});

/** A loaded page, the addresses that it asked for, and what it complained about. */
async function open(kind, folder, options = {}, ready = "#sample:not([disabled])") {
  const url = await serve(kind, folder);
  const context = await browser.newContext({ ...options, permissions: ["camera"] });
  const page = await context.newPage();
  const complaints = [];
  page.requested = [];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("requestfailed", (request) => complaints.push(`failed: ${request.url()}`));
  context.on("request", (request) => {
    if (!/^(blob|data):/.test(request.url())) page.requested.push(request.url());
  });
  await page.goto(url);
  await page.waitForSelector(ready, { timeout: 60000 });
  return { page, url, complaints };
}

async function serve(kind, folder) {
  const [command, words] = SERVERS[kind];
  const server = spawn(command, words, { cwd: fileURLToPath(folder) });
  servers.push(server);
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.stdout.on("data", (text) => {
      const port = /:(\d+)\/|port (\d+)/.exec(text);
      if (port) resolve(`http://localhost:${port[1] ?? port[2]}/`);
    });
  });
}

async function names(folder) {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

async function until(condition, message) {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(message);
}

/** In the page: pixels that it is too wide, and texts with less contrast than WCAG AA asks for. */
function measure() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => {
    const [red, green, blue] = rgba(colour).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (rgba(colour)[3] === 255) return colour;
    }
    return "Canvas";
  };
  const weak = [];
  for (const element of document.querySelectorAll("h1, h2, p, button, span, dt, dd, label")) {
    if (!element.checkVisibility() || !element.textContent.trim()) continue;
    const [low, high] = [getComputedStyle(element).color, background(element)]
      .map(luminance)
      .sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) weak.push(`${element.textContent.trim()}: ${contrast.toFixed(2)}`);
  }
  const { scrollWidth, clientWidth } = document.documentElement;
  return { overflow: scrollWidth - clientWidth, weak };
}
