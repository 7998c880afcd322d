// A client of the TypeScript SDK 2.x. Arguments: URL, mode of negotiation. Prints what its user sees.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const [, , url, mode] = process.argv;
const said = (error) => `${error.constructor.name}: ${error.message}`;
const client = new Client({ name: "typescript2", version: "1" }, { versionNegotiation: { mode } });
await client.connect(new StreamableHTTPClientTransport(new URL(url)));

const listed = (await client.listTools()).tools.map((tool) => tool.name).sort();
const called = await client.callTool({ name: "add", arguments: { a: 2, b: 3 } });
const progress = [];
await client.callTool({ name: "count", arguments: { to: 3 } }, { onprogress: (heard) => progress.push(heard.progress) });
let refused;
try {
  refused = JSON.stringify(await client.callTool({ name: "forbidden", arguments: {} }));
} catch (error) {
  refused = said(error);
}
const abort = new AbortController();
let cancelled;
try {
  await client.callTool(
    { name: "wait", arguments: {} },
    { onprogress: () => abort.abort("enough"), signal: abort.signal },
  );
} catch (error) {
  cancelled = said(error);
}
await client.listTools(); // to close sooner would take the cancellation back
console.log(
  JSON.stringify({
    revision: client.getNegotiatedProtocolVersion?.() ?? null,
    listed,
    called: called.content.map((content) => content.text),
    progress,
    refused,
    cancelled,
  }),
);
await client.close();
