// Serves what `npm run build` made; the first page comes with what the API says.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { normalize } from "node:path";
import { page } from "./dist/server/page.js";

const types = { ".js": "text/javascript", ".css": "text/css" };

async function answer(path) {
  if (path === "/health") return ["application/json", JSON.stringify({ status: "ok" })];
  if (path === "/") {
    const html = await readFile("dist/index.html", "utf8");
    return ["text/html", html.replace("<!--page-->", await page())];
  }
  if (!path.startsWith("/assets/") || normalize(path) !== path) throw Object.assign(new Error(path), { code: "ENOENT" });
  return [types[path.slice(path.lastIndexOf("."))] ?? "application/octet-stream", await readFile(`dist${path}`)];
}

createServer(async (request, response) => {
  try {
    const [type, body] = await answer(new URL(request.url, "http://localhost").pathname);
    response.writeHead(200, { "content-type": type }).end(body);
  } catch (error) {
    response.writeHead(error.code === "ENOENT" ? 404 : 502).end(`${error.message}\n`);
  }
}).listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? "127.0.0.1");
