// A client of the TypeScript SDK 1.x. Argument: URL. Prints what its user sees.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const said = (error) => `${error.constructor.name}: ${error.message}`;
const transport = new StreamableHTTPClientTransport(new URL(process.argv[2]));
const client = new Client({ name: "typescript1", version: "1" });
await client.connect(transport);

const listed = (await client.listTools()).tools.map((tool) => tool.name).sort();
const called = await client.callTool({ name: "add", arguments: { a: 2, b: 3 } });
const progress = [];
await client.callTool({ name: "count", arguments: { to: 3 } }, undefined, {
  onprogress: (heard) => progress.push(heard.progress),
});
let refused;
try {
  refused = JSON.stringify(await client.callTool({ name: "forbidden", arguments: {} }));
} catch (error) {
  refused = said(error);
}
const abort = new AbortController();
let cancelled;
try {
  await client.callTool({ name: "wait", arguments: {} }, undefined, {
    onprogress: () => abort.abort("enough"),
    signal: abort.signal,
  });
} catch (error) {
  cancelled = said(error);
}
await client.ping(); // to close sooner would take the cancellation back
console.log(
  JSON.stringify({
    revision: transport.protocolVersion,
    listed,
    called: called.content.map((content) => content.text),
    progress,
    refused,
    cancelled,
  }),
);
await client.close();
