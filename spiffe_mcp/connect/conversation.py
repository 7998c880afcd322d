"""What an HTTP request to the server says beside its body: the headers that a stdio client never knew of.

Enters: the messages of the client and the server as they pass. Leaves: headers. In 2026-07-28 they mirror
the body, so every message carries what is needed; before, they carry what `initialize` settled, which is
remembered here, with the `initialize` itself, so that a session that the server forgot can be opened anew.

Pure. It knows nothing of connections, nor of what may be called.
"""

from typing import Final

from spiffe_mcp.errors import Refused
from spiffe_mcp.http import Headers
from spiffe_mcp.http.messages import values
from spiffe_mcp.mcp import Era, Message, Notification, Request, Response, presumed_era
from spiffe_mcp.mcp import headers as mirrors
from spiffe_mcp.mcp import param_headers as parameters
from spiffe_mcp.mcp.era import META, VERSION_KEY
from spiffe_mcp.mcp.param_headers import Declared
from spiffe_mcp.strict_json import JsonObject

SESSION_ID: Final = b"mcp-session-id"
ACCEPT: Final = (b"accept", b"application/json, text/event-stream")
MAX_TOOLS: Final = 4096  # whose declared headers are remembered
_JSON: Final = (b"content-type", b"application/json")


class Conversation:
    """What one client and one server have said to each other so far, as far as headers depend on it."""

    def __init__(self) -> None:
        self._initialize: Request | None = None
        self._session: Headers = ()
        self._version: bytes | None = None
        self._declared: dict[str, Declared] = {}

    @property
    def is_legacy(self) -> bool:
        """Whether an `initialize` has been answered, so that the server may have more to say (GET)."""
        return self._version is not None

    @property
    def session(self) -> Headers:
        """The header that names the session, if the server opened one."""
        return self._session

    @property
    def initialize(self) -> Request | None:
        """The client's `initialize`, to be said again when its session is lost; None if there was none."""
        return self._initialize

    def headers(self, message: Message) -> Headers:
        """What goes with `message` in a POST (streamable-http "Sending Messages", "Standard headers")."""
        if presumed_era(message) is Era.MODERN and isinstance(message, Request | Notification):
            return (ACCEPT, _JSON, *self._mirrors(message))
        return (ACCEPT, _JSON, *self.standing(message))

    def standing(self, message: Message | None = None) -> Headers:
        """What goes with every request of the session; `initialize` begins one, and has nothing of it."""
        if isinstance(message, Request) and message.method == "initialize":
            return ()
        version = () if self._version is None else ((mirrors.VERSION, self._version),)
        return (*version, *self._session)

    def opened(self, request: Request, answered: Headers) -> None:
        """`request` has been answered with these headers, whatever follows."""
        if request.method == "initialize":
            self._initialize = request
            self._session = tuple((SESSION_ID, value) for value in values(answered, SESSION_ID)[:1])

    def answered(self, request: Request, response: Response) -> None:
        """The server's answer to `request`."""
        result = response.result
        if result is None:
            return
        version = result.get("protocolVersion")
        if request.method == "initialize" and isinstance(version, str) and version.isascii():
            self._version = version.encode()
        if request.method == "tools/list":
            self._learn(result)

    def _mirrors(self, message: Request | Notification) -> Headers:
        params = message.params or {}
        found = [(mirrors.METHOD, mirrors.encode(message.method))]
        meta = params.get(META)
        version = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
        if isinstance(version, str):
            found.append((mirrors.VERSION, mirrors.encode(version)))
        name = params.get(mirrors.NAME_KEYS.get(message.method, ""))
        if isinstance(name, str):
            found.append((mirrors.NAME, mirrors.encode(name)))
        return (*found, *self._parameters(message, params))

    def _parameters(self, message: Request | Notification, params: JsonObject) -> Headers:
        name, arguments = params.get("name"), params.get("arguments")
        if message.method != "tools/call" or not isinstance(name, str) or not isinstance(arguments, dict):
            return ()
        return parameters.mirror(self._declared.get(name, {}), arguments)

    def _learn(self, page: JsonObject) -> None:
        tools = page.get("tools")
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, dict) and isinstance(name := tool.get("name"), str):
                self._declared.pop(name, None)
                if (declared := _declared(tool)) and len(self._declared) < MAX_TOOLS:
                    self._declared[name] = declared


def _declared(tool: JsonObject) -> Declared:
    schema = tool.get("inputSchema")
    try:
        return parameters.declared(schema) if isinstance(schema, dict) else {}
    except Refused:  # the mesh offers no such tool; were it called all the same, the server would refuse
        return {}
