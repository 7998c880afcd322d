"""How large a JSON Schema is once its references are written out.

Enters: a schema whose references resolve. Leaves: nothing, or a refusal. Thirty definitions, each naming the
next one twice, fit in two kilobytes and take a validator 2^30 steps for any argument; the call would hold
its whole process. A reference back into what is being written out is a recursion, which ends where the
arguments end, and is counted once.

References are JSON pointers (RFC 6901) into the schema. Anchors and embedded resources lead elsewhere than
they seem to, so a schema that has any may have few references.

Pure.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import JsonObject, JsonValue

MAX_PARTS: Final = 100_000  # about a millisecond of validation
MAX_OTHER_REFERENCES: Final = 16  # at worst 2^16 parts

_REFERENCES: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_REBASING: Final = frozenset({"$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor"})


def check_extent(schema: JsonObject, path: str) -> None:
    """Return if `schema` stays small when written out; raises `Refused(MANIFEST_SCHEMA_INVALID)`."""
    objects = [node for node in _nodes(schema) if isinstance(node, dict)]
    references = [reference for node in objects for reference in _references(node)]
    if any(_REBASING & node.keys() for node in objects) or not all(map(_is_pointer, references)):
        if len(references) > MAX_OTHER_REFERENCES:
            raise Refused(
                Reason.MANIFEST_SCHEMA_INVALID, f"{path}: too many references beside an anchor or $id"
            )
        return
    try:
        parts = _Extent(schema).of(schema)
    except RecursionError:
        raise Refused(Reason.MANIFEST_SCHEMA_INVALID, f"{path}: references too deep") from None
    if parts > MAX_PARTS:
        raise Refused(Reason.MANIFEST_SCHEMA_INVALID, f"{path}: more than {MAX_PARTS} parts when written out")


class _Extent:
    """Counts the parts of one schema; what was counted is remembered, so counting is quick."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._known: dict[int, int] = {}

    def of(self, node: JsonValue) -> int:
        """Parts of `node`, those that its references stand for included."""
        if not isinstance(node, (dict, list)):
            return 0
        if id(node) not in self._known:
            self._known[id(node)] = 1  # what a reference back to here counts, while it is being counted
            parts = 1 + sum(self.of(child) for child in (node.values() if isinstance(node, dict) else node))
            if isinstance(node, dict):
                parts += sum(self.of(self._target(reference)) for reference in _references(node))
            self._known[id(node)] = parts
        return self._known[id(node)]

    def _target(self, reference: str) -> JsonValue:
        node: JsonValue = self._root
        for step in unquote(reference).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict):
                node = node.get(name)
            elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
                node = node[int(name)]
            else:
                return None
        return node


def _references(node: JsonObject) -> Iterator[str]:
    return (value for key in _REFERENCES & node.keys() if isinstance(value := node[key], str))


def _is_pointer(reference: str) -> bool:
    return reference == "#" or reference.startswith("#/")


def _nodes(value: JsonValue) -> Iterator[JsonValue]:
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _nodes(child)
