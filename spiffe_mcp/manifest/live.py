"""The tools a server lists now, against the tools that were signed.

Enters: a manifest and the tool objects of a complete live list, as strict JSON gives them. Leaves: which
signed tools may be shown, and why the others may not. What is shown is always the signed copy; a live text
that differs by one space never reaches a model. One bad tool does not hide the others.

Normalised is only what MCP itself calls the same: null for absent (`definition.normalized`), the order of
tools, the order of keys and the spelling of numbers, members of `_meta` that the publisher signed as
volatile, and `execution` in protocol versions that no longer have it. Unknown fields count.

Pure: no I/O, no clock. How the pages of a list are fetched is somebody else's question.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.canonical import canonical
from spiffe_mcp.manifest.definition import normalized
from spiffe_mcp.manifest.model import Manifest, SignedTool
from spiffe_mcp.strict_json import JsonObject, JsonValue

_WITHOUT_EXECUTION: Final = "2026-07-28"  # the first protocol version whose Tool has no `execution`
_VERSION: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class LiveView:
    """What of a live list may be shown. Names in `hidden` are the server's words: escape them to log them."""

    exposed: Mapping[str, SignedTool]  # in the order of the live list
    hidden: Mapping[str, Reason]  # listed live, and why not shown
    missing: frozenset[str]  # signed, not listed live: a list may vary with who asks
    nameless: int  # listed live, without a name to call it by


def compare(manifest: Manifest, live_tools: Sequence[JsonValue], *, protocol_version: str) -> LiveView:
    """Hold a complete live list against `manifest`; never refuses.

    `protocol_version` is the one negotiated with the server; one that is no date is taken for an old one,
    under which more is compared.
    """
    names = [_name(tool) for tool in live_tools]
    count = Counter(names)
    without_execution = bool(_VERSION.fullmatch(protocol_version)) and protocol_version >= _WITHOUT_EXECUTION
    exposed: dict[str, SignedTool] = {}
    hidden: dict[str, Reason] = {}
    for name, live in zip(names, live_tools, strict=True):
        if name is None or not isinstance(live, dict):
            continue
        signed = manifest.tools.get(name)
        if signed is None:
            hidden[name] = Reason.MANIFEST_TOOL_UNSIGNED
        elif count[name] > 1:
            # Which of the two a call would reach is the server's secret.
            hidden[name] = Reason.MANIFEST_TOOL_DUPLICATE
        elif not _is_same(signed, live, without_execution=without_execution):
            hidden[name] = Reason.MANIFEST_TOOL_CHANGED
        else:
            exposed[name] = signed
    return LiveView(exposed, hidden, frozenset(manifest.tools.keys() - count.keys()), count[None])


def _name(tool: JsonValue) -> str | None:
    name = tool.get("name") if isinstance(tool, dict) else None
    return name if isinstance(name, str) else None


def _is_same(signed: SignedTool, live: JsonObject, *, without_execution: bool) -> bool:
    ours = _compared(dict(signed.definition), signed.volatile_meta, without_execution=without_execution)
    theirs = _compared(live, signed.volatile_meta, without_execution=without_execution)
    try:
        # Equal serialisations are equal values, which settles nearly every tool without the slower canonical
        # form. Not `==`: in Python, true is equal to 1.
        if _serialized(ours) == _serialized(theirs):
            return True
        return canonical(ours) == canonical(theirs)
    except (Refused, orjson.JSONEncodeError):
        return False  # has no canonical form, or cannot be serialised: nothing that was ever signed


def _compared(definition: JsonObject, volatile: frozenset[str], *, without_execution: bool) -> JsonObject:
    """What of a definition is compared."""
    view = normalized(definition)
    if without_execution:
        view.pop("execution", None)
    meta = view.get("_meta")
    if volatile and isinstance(meta, dict):
        stable = {key: value for key, value in meta.items() if key not in volatile}
        view["_meta"] = stable
        if not stable:
            del view["_meta"]  # absent, and present with volatile members only, come to the same
    return view


def _serialized(value: JsonObject) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
