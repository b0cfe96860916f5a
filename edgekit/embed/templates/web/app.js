// The page: pictures in, classes out. The model itself lives in worker.js.

const LONGEST_SIDE = 4096; // phones refuse larger canvases
const SMALL_SIDE = 64; // pictures below this are shown as the pixels that they are

const element = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const percent = new Intl.NumberFormat("en", {
  style: "percent",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});

const model = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const calls = new Map(); // id -> { resolve, reject }
let settings;
let stream; // of the open camera
let latest = 0; // picture that the page shows; answers to older ones are dropped

model.onmessage = ({ data }) => {
  if (data.kind === "stage") {
    showStage(data);
    return;
  }
  const call = calls.get(data.id);
  calls.delete(data.id);
  if (data.kind === "done") call.resolve(data.answer);
  else call.reject(Object.assign(new Error(data.message), { name: data.name }));
};
model.onerror = (event) => showError(new Error(event.message ?? "worker.js can't be loaded"));

function ask(kind, message, transfer = []) {
  const id = ++ask.last;
  return new Promise((resolve, reject) => {
    calls.set(id, { resolve, reject });
    model.postMessage({ id, kind, ...message }, transfer);
  });
}
ask.last = 0;

async function start() {
  const response = await fetch(new URL("model.json", import.meta.url));
  if (!response.ok) throw new Error(`can't get model.json: the server answers ${response.status}`);
  settings = await response.json();
  const facts = await ask("open", { settings });
  showFacts(facts);
  element("loading").hidden = true;
  element("answer").textContent = "Ready for a picture";
  for (const id of ["choose", "camera", "sample"]) element(id).disabled = false;
}

/** A picture from a blob or an address: shown, then classified. */
async function usePicture(source, label) {
  const address = source instanceof Blob ? URL.createObjectURL(source) : source;
  const picture = new Image();
  picture.src = address;
  try {
    // The browser turns it upright by its Exif data.
    await picture.decode();
  } catch (error) {
    throw new Error(`this browser can't read ${label} as a picture`, { cause: error });
  } finally {
    if (address !== source) URL.revokeObjectURL(address);
  }
  await classify(picture, picture.naturalWidth, picture.naturalHeight, label);
}

/** drawable: an image or a video of that size. */
async function classify(drawable, width, height, label) {
  const shrink = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  const canvas = element("preview");
  canvas.width = Math.max(1, Math.round(width * shrink));
  canvas.height = Math.max(1, Math.round(height * shrink));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff"; // behind transparent pixels
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(drawable, 0, 0, canvas.width, canvas.height);
  canvas.classList.toggle("small", Math.max(width, height) <= SMALL_SIDE);
  canvas.setAttribute("aria-label", label);
  canvas.hidden = false;
  element("hint").hidden = true;
  element("stage").classList.add("full");
  element("error").hidden = true;

  const turn = ++latest;
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const pixels = { data, width: canvas.width, height: canvas.height };
  const answer = await ask("classify", { pixels }, [data.buffer]);
  if (turn === latest) showClasses(answer);
}

function showStage({ stage, done, total }) {
  const progress = element("progress");
  if (stage === "runtime") {
    progress.removeAttribute("value"); // its share isn't known
    element("status").textContent = "Starting onnxruntime-web";
    return;
  }
  progress.value = Math.min(1, done / total);
  element("status").textContent =
    done < total
      ? `Loading the model: ${megabytes(done)} of ${megabytes(total)}`
      : "Decoding the model";
}

function showFacts({ packedBytes, decodeMs, runtimeMs, sessionMs, threads, digest }) {
  const full = settings.floatBytes;
  const saved = percent.format(1 - packedBytes / full);
  element("size").textContent = `${megabytes(packedBytes)} of ${megabytes(full)}, ${saved} saved`;
  element("decode").textContent = duration(decodeMs);
  element("session").textContent = duration(sessionMs);
  element("runtime").textContent =
    `${duration(runtimeMs)}, ${threads} thread${threads > 1 ? "s" : ""}`;
  element("digest").textContent = `Model ${settings.packed}, digest ${digest}`;
  element("facts").hidden = false;
}

function showClasses({ classes, runMs }) {
  const [best] = classes;
  element("answer").textContent = `${className(best.index)}, ${percent.format(best.share)}`;
  element("classes").replaceChildren(...classes.map(({ index, share }) => row(index, share)));
  element("run").textContent = duration(runMs);
  element("classes").scrollIntoView({ block: "nearest" }); // on phones it may lie below
}

function row(index, share) {
  const name = document.createElement("span");
  name.textContent = className(index);
  const value = document.createElement("span");
  value.className = "share";
  value.textContent = percent.format(share);
  const bar = document.createElement("div");
  bar.className = "bar";
  bar.style.width = `${100 * share}%`;
  const track = document.createElement("div");
  track.className = "track";
  track.append(bar);
  const item = document.createElement("li");
  item.append(name, value, track);
  return item;
}

function className(index) {
  return settings.labels[index] ?? `class ${index}`;
}

function showError(error) {
  element("loading").hidden = true;
  const text = error.name === "Error" ? error.message : `${error.message} (${error.name})`;
  element("error").textContent = text[0].toUpperCase() + text.slice(1);
  element("error").hidden = false;
}

function megabytes(bytes) {
  return bytes < 1e6 ? `${number.format(bytes / 1e3)} kB` : `${number.format(bytes / 1e6)} MB`;
}

function duration(time) {
  return time < 1000 ? `${number.format(time)} ms` : `${number.format(time / 1000)} s`;
}

async function openCamera() {
  const video = element("video");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    throw new Error(`the camera can't be used: ${error.message}`, { cause: error });
  }
  video.srcObject = stream;
  await video.play();
  showCamera(true);
  element("capture").focus();
}

function closeCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
  showCamera(false);
  element("camera").focus();
}

function showCamera(isOpen) {
  for (const id of ["video", "capture", "stop"]) element(id).hidden = !isOpen;
  for (const id of ["choose", "camera", "sample"]) element(id).hidden = isOpen;
  element("preview").hidden = isOpen || !latest;
  element("hint").hidden = isOpen || latest > 0;
}

async function capture() {
  const video = element("video");
  const done = classify(video, video.videoWidth, video.videoHeight, "A picture from the camera");
  closeCamera();
  await done;
}

/** What a click or drop does; its errors are shown. */
function action(work) {
  return (event) => Promise.resolve(work(event)).catch(showError);
}

/** A picture that was chosen, dropped or pasted, once the model is ready. */
async function useFile(file) {
  if (file && !element("choose").disabled) await usePicture(file, file.name || "The picture");
}

element("choose").addEventListener("click", () => element("file").click());
element("file").addEventListener(
  "change",
  action(async ({ target }) => {
    const [file] = target.files;
    target.value = ""; // so that the same file can be chosen again
    await useFile(file);
  }),
);
element("sample").addEventListener(
  "click",
  action(() => usePicture(new URL("sample.svg", import.meta.url).href, "The sample")),
);
element("camera").addEventListener("click", action(openCamera));
element("capture").addEventListener("click", action(capture));
element("stop").addEventListener("click", action(closeCamera));

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  element("stage").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) element("stage").classList.remove("over");
});
document.addEventListener(
  "drop",
  action(async (event) => {
    event.preventDefault();
    element("stage").classList.remove("over");
    await useFile(event.dataTransfer.files[0]);
  }),
);
document.addEventListener(
  "paste",
  action((event) => useFile(event.clipboardData.files[0])),
);

element("camera").hidden = !navigator.mediaDevices?.getUserMedia;
start().catch(showError);
