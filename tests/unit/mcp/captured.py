"""What the official Python SDK 2.3.0 (client and server) really sent, byte for byte."""

from typing import Final

MODERN_META: Final = (
    b'"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    b'"io.modelcontextprotocol/clientInfo":{"name":"mcp","version":"0.1.0"},'
    b'"io.modelcontextprotocol/clientCapabilities":{}}'
)

# -- client to server
MODERN_VERSION: Final = (b"mcp-protocol-version", b"2026-07-28")
LEGACY_VERSION: Final = (b"mcp-protocol-version", b"2025-11-25")

DISCOVER: Final = (
    b'{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{' + MODERN_META + b"}}",
    (MODERN_VERSION, (b"mcp-method", b"server/discover")),
)
MODERN_LIST: Final = (
    b'{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{' + MODERN_META + b"}}",
    (MODERN_VERSION, (b"mcp-method", b"tools/list")),
)
MODERN_CALL: Final = (
    b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},'
    + MODERN_META
    + b"}}",
    (MODERN_VERSION, (b"mcp-method", b"tools/call"), (b"mcp-name", b"add")),
)
MODERN_CALL_WITH_PROGRESS: Final = (
    (
        b'{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"slow","arguments":{"n":2},"_meta":{'
        b'"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
        b'"io.modelcontextprotocol/clientInfo":{"name":"mcp","version":"0.1.0"},'
        b'"io.modelcontextprotocol/clientCapabilities":{},"progressToken":4}}}'
    ),
    (MODERN_VERSION, (b"mcp-method", b"tools/call"), (b"mcp-name", b"slow")),
)
MODERN_READ: Final = (
    b'{"jsonrpc":"2.0","id":9,"method":"resources/read","params":{"uri":"demo://thing/\xc3\xbc",'
    + MODERN_META
    + b"}}",
    (
        MODERN_VERSION,
        (b"mcp-method", b"resources/read"),
        (b"mcp-name", b"=?base64?ZGVtbzovL3RoaW5nL8O8?="),
    ),
)
INITIALIZE: Final = (
    (
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
        b'"capabilities":{},"clientInfo":{"name":"mcp","version":"0.1.0"}}}'
    ),
    (),
)
INITIALIZED: Final = (b'{"jsonrpc":"2.0","method":"notifications/initialized"}', (LEGACY_VERSION,))
LEGACY_LIST: Final = (b'{"jsonrpc":"2.0","id":2,"method":"tools/list"}', (LEGACY_VERSION,))
LEGACY_CALL: Final = (
    b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2}}}',
    (LEGACY_VERSION,),
)
LEGACY_PROMPT: Final = (
    b'{"jsonrpc":"2.0","id":7,"method":"prompts/get","params":{"name":"hello","arguments":{"who":"x"}}}',
    (LEGACY_VERSION,),
)
LEGACY_READ: Final = (
    b'{"jsonrpc":"2.0","id":9,"method":"resources/read","params":{"uri":"demo://thing/\xc3\xbc"}}',
    (LEGACY_VERSION,),
)
PING: Final = (b'{"jsonrpc":"2.0","id":11,"method":"ping"}', (LEGACY_VERSION,))

# -- server to client
DISCOVERED: Final = (
    b'{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"private","capabilities":{"prompts":{"listChanged":true},'
    b'"resources":{"listChanged":true,"subscribe":true},"tools":{"listChanged":true}},"resultType":"complete",'
    b'"supportedVersions":["2026-07-28"],"ttlMs":0,'
    b'"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"demo","version":"1.0.0"}}}}'
)
INITIALIZE_STREAM: Final = (
    b'event: message\r\ndata: {"jsonrpc":"2.0","id":1,"result":{"capabilities":{"prompts":'
    b'{"listChanged":false},"resources":{"listChanged":false,"subscribe":false},"tools":{"listChanged":false}},'
    b'"protocolVersion":"2025-11-25","serverInfo":{"name":"demo","version":"1.0.0"}}}\r\n\r\n'
)
MODERN_PAGE: Final = (
    b'{"jsonrpc":"2.0","id":2,"result":{"cacheScope":"public","resultType":"complete","tools":[{"description":'
    b'"Add two numbers.","inputSchema":{"type":"object","properties":{"a":{"title":"A","type":"integer"},'
    b'"b":{"title":"B","type":"integer"}},"required":["a","b"],"title":"addArguments"},"name":"add",'
    b'"outputSchema":{"properties":{"result":{"title":"Result","type":"integer"}},"required":["result"],'
    b'"title":"addOutput","type":"object"}},{"description":"Progress.","inputSchema":{"type":"object",'
    b'"properties":{"n":{"title":"N","type":"integer"}},"required":["n"],"title":"slowArguments"},"name":"slow",'
    b'"outputSchema":{"properties":{"result":{"title":"Result","type":"string"}},"required":["result"],'
    b'"title":"slowOutput","type":"object"}}],"ttlMs":60000,'
    b'"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"demo","version":"1.0.0"}}}}'
)
LEGACY_PAGE_STREAM: Final = (
    b'event: message\r\ndata: {"jsonrpc":"2.0","id":2,"result":{"tools":[{"description":"Add two numbers.",'
    b'"inputSchema":{"properties":{"a":{"title":"A","type":"integer"},"b":{"title":"B","type":"integer"}},'
    b'"required":["a","b"],"type":"object","title":"addArguments"},"name":"add","outputSchema":{"properties":'
    b'{"result":{"title":"Result","type":"integer"}},"required":["result"],"type":"object",'
    b'"title":"addOutput"}}]}}\r\n\r\n'
)
MODERN_CALLED: Final = (
    b'{"jsonrpc":"2.0","id":3,"result":{"content":[{"text":"3","type":"text"}],"isError":false,'
    b'"resultType":"complete","structuredContent":{"result":3},'
    b'"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"demo","version":"1.0.0"}}}}'
)
MODERN_STREAM: Final = (
    b'event: message\r\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":4,'
    b'"progress":0,"total":2,"message":"step 0"}}\r\n\r\n'
    b": ping\r\n\r\n"
    b'event: message\r\ndata: {"jsonrpc":"2.0","id":4,"result":{"content":[{"text":"done \\u00fcn\\u00ef",'
    b'"type":"text"}],"isError":false,"resultType":"complete","structuredContent":{"result":"done"}}}\r\n\r\n'
)
