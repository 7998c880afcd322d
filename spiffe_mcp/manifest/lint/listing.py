"""The linter's view of all the tools of one server.

Enters: tools as a server lists them, or as they are signed, and the server's instructions. Leaves: findings,
tool by tool, in the order of the list. Pure.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.definition import check_definition, normalized
from spiffe_mcp.manifest.fields import item_path, member_path
from spiffe_mcp.manifest.lint.finding import Finding, Rule
from spiffe_mcp.manifest.lint.reach import check_reach
from spiffe_mcp.manifest.lint.wording import check_wording
from spiffe_mcp.manifest.schema import InputSchema
from spiffe_mcp.strict_json import JsonObject, JsonValue

# A name that is no ordinary word of a description: forecast_city, listFiles, weather.today.
_DISTINCTIVE: Final = re.compile(r"[a-z0-9][A-Z]|[_.-]")
_ANY_TOOL: Final = re.compile(
    r"\b(?:other|another|any|all|every|following)\s+(?:mcp\s+)?tools?\b", re.IGNORECASE
)
_CHANGES: Final = re.compile(
    r"(?:^|[_.-])(?:delete|remove|drop|write|create|update|set|send|post|put|insert|kill|exec|execute|run|pay|transfer)"
    r"(?:$|[_.-]|(?=[A-Z]))"
)


def lint(tools: Sequence[JsonObject], instructions: str | None = None) -> list[Finding]:
    """Everything a careful reader would stop at."""
    names = [name for tool in tools if isinstance(name := tool.get("name"), str)]
    found = list(check_wording(instructions, "$.instructions")) if instructions is not None else []
    for tool in tools:
        name = tool.get("name")
        label = ascii(name)[1:-1][:128] if isinstance(name, str) else "?"
        others = [other for other in names if other != name]
        found += [replace(finding, tool=label) for finding in _tool(tool, others)]
    return found


def _tool(tool: JsonObject, others: Sequence[str]) -> Iterator[Finding]:
    yield from _unsignable(tool)
    for text, place in _texts(tool, "$"):
        yield from check_wording(text, place)
        yield from _mentions(text, place, others)
    description = tool.get("description")
    if not isinstance(description, str) or not description.strip():
        yield Finding.at(Rule.NO_DESCRIPTION, "$.description", "absent")
    yield from check_reach(tool.get("inputSchema"), "$.inputSchema")
    yield from _annotations(tool)


def _unsignable(tool: JsonObject) -> Iterator[Finding]:
    """What `sign` would refuse; a hidden text has a rule of its own, for each place where there is one."""
    definition = normalized(tool)
    try:
        check_definition(definition, "$")
        InputSchema.compile(definition["inputSchema"], "$.inputSchema")
    except Refused as refusal:
        if refusal.reason is not Reason.MANIFEST_TEXT:
            yield Finding.at(Rule.UNSIGNABLE, "$", str(refusal))


def _texts(value: JsonValue, place: str) -> Iterator[tuple[str, str]]:
    """Every string inside `value`, names of members included, and where it stands."""
    if isinstance(value, str):
        yield value, place
    elif isinstance(value, dict):
        for key, member in value.items():
            yield key, member_path(place, key)
            yield from _texts(member, member_path(place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, item_path(place, index))


def _mentions(text: str, place: str, others: Iterable[str]) -> Iterator[Finding]:
    """Another tool of the server by its name, or other tools in general."""
    for other in others:
        if _DISTINCTIVE.search(other) and re.search(rf"(?<![\w.-]){re.escape(other)}(?![\w-])", text):
            yield Finding.at(Rule.CROSS_TOOL, place, other)
    if found := _ANY_TOOL.search(text):
        yield Finding.at(Rule.CROSS_TOOL, place, found[0])


def _annotations(tool: JsonObject) -> Iterator[Finding]:
    """Hints that cannot all be true (MCP, ToolAnnotations)."""
    hints = tool.get("annotations")
    if not isinstance(hints, dict) or hints.get("readOnlyHint") is not True:
        return
    name = tool.get("name")
    if hints.get("destructiveHint") is True:
        yield Finding.at(Rule.ANNOTATION, "$.annotations", "readOnlyHint and destructiveHint")
    if isinstance(name, str) and (found := _CHANGES.search(name)):
        yield Finding.at(Rule.ANNOTATION, "$.annotations.readOnlyHint", f"read-only, and named {found[0]}")
