// A server of the TypeScript SDK 1.x. Prints its URL.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { z } from "zod";

const text = (value) => ({ content: [{ type: "text", text: String(value) }] });

async function report(extra, progress, total) {
  const progressToken = extra._meta?.progressToken;
  if (progressToken === undefined) return;
  await extra.sendNotification({ method: "notifications/progress", params: { progressToken, progress, total } });
}

function reference() {
  const server = new McpServer({ name: "typescript1", version: "1" });
  const numbers = { a: z.number().int(), b: z.number().int() };
  server.registerTool("add", { description: "The sum of two numbers.", inputSchema: numbers }, ({ a, b }) => text(a + b));
  const far = { to: z.number().int() };
  server.registerTool("count", { description: "Count, and say how far.", inputSchema: far }, async ({ to }, extra) => {
    for (let number = 0; number < to; number += 1) await report(extra, number, to);
    return text(to);
  });
  server.registerTool("wait", { description: "Run until it is cancelled.", inputSchema: {} }, async (_, extra) => {
    await report(extra, 0, 1);
    await new Promise((resolve) => extra.signal.addEventListener("abort", resolve));
    console.log("cancelled");
    return text("never");
  });
  server.registerTool("forbidden", { description: "What nobody may call.", inputSchema: {} }, () => text("reached"));
  return server;
}

const transports = new Map();
const http = createServer(async (request, response) => {
  let transport = transports.get(request.headers["mcp-session-id"]);
  if (transport === undefined) {
    transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => transports.set(id, transport),
    });
    await reference().connect(transport);
  }
  await transport.handleRequest(request, response);
});
http.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${http.address().port}/mcp`));
