"""What a server may ask a client, and what the client must have declared for it: an allow-list.

Legacy servers send requests in a stream (`of_a_session`); 2026-07-28 has the questions inside a result that
is not complete yet (`results`, by `needed`). A method that is not here is not asked, whether MCP knows it or
not; neither is a task of the client's own (2025-11-25 basic/utilities/tasks), which nobody would watch.

Enters: a method and its parameters. Leaves: the capabilities it takes. Pure: what policy says is asked
elsewhere.
"""

from collections.abc import Mapping
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.capabilities import NOTHING, Capability
from spiffe_mcp.mcp.keys import ExactKeys
from spiffe_mcp.mcp.message import Request
from spiffe_mcp.strict_json import JsonObject

_PARAMS: Final = ExactKeys(frozenset({"mode", "task", "toolChoice", "tools"}))
_MODES: Final[Mapping[str, Capability]] = {
    "form": Capability.ELICITATION,
    "url": Capability.ELICITATION_URL,
}


def check_offered(request: Request, has: Capability) -> None:
    """Return if a legacy client that declared `has` may be asked this.

    Raises `Refused`: `MCP_SERVER_REQUEST_REFUSED`, `MCP_CAPABILITY_UNDECLARED`, `MCP_ANSWER_MALFORMED`.
    """
    # Either side may ask whether the other is there (2025-11-25 basic/utilities/ping).
    required = NOTHING if request.method == "ping" else needed(request.method, request.params or {})
    if required & ~has:
        raise Refused(Reason.MCP_CAPABILITY_UNDECLARED, request.method)


def needed(method: str, params: JsonObject) -> Capability:
    """What a client must have declared to be asked this; default deny.

    Raises `Refused`: `MCP_SERVER_REQUEST_REFUSED`, `MCP_ANSWER_MALFORMED`.
    """
    _PARAMS.check_answered(params)
    if "task" in params:
        raise Refused(Reason.MCP_SERVER_REQUEST_REFUSED, "a task of the client's")
    if method == "sampling/createMessage":
        with_tools = "tools" in params or "toolChoice" in params
        return Capability.SAMPLING | (Capability.SAMPLING_TOOLS if with_tools else NOTHING)
    if method == "roots/list":
        return Capability.ROOTS
    mode = params.get("mode", "form")
    if method == "elicitation/create" and isinstance(mode, str) and mode in _MODES:
        return _MODES[mode]
    raise Refused(Reason.MCP_SERVER_REQUEST_REFUSED, ascii(method[:80]))
