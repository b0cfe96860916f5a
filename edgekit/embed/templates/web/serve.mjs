// Serves this folder on this machine alone: node serve.mjs [port]
//
// With the two headers that isolate a page, so that onnxruntime-web may use threads. Any other
// static server does as well; without the headers the page runs on one thread.
import { createReadStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

const TYPES = {
  ".css": "text/css",
  ".ekp": "application/octet-stream",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".mjs": "text/javascript",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cache-Control": "no-cache",
};

const folder = await realpath(fileURLToPath(new URL(".", import.meta.url)));
const port = Number(process.argv[2] ?? 8000);

const server = createServer(async (request, response) => {
  try {
    const { pathname } = new URL(request.url, "http://localhost");
    const name = decodeURIComponent(pathname);
    const path = await realpath(join(folder, name.endsWith("/") ? `${name}index.html` : name));
    const { size } = await stat(path);
    const type = TYPES[extname(path)];
    if (!type || !path.startsWith(folder + sep)) throw new Error("not a file of this page");
    response.writeHead(200, { ...HEADERS, "Content-Type": type, "Content-Length": size });
    createReadStream(path).pipe(response);
  } catch {
    response.writeHead(404, { "Content-Type": "text/plain" }).end("not found\n");
  }
});
server.listen(port, "127.0.0.1", () => {
  console.log(`http://localhost:${server.address().port}/  (Ctrl-C ends it)`);
});
