"""Members are found where they stand, and every byte around them stays."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.mesh.stdio.members import Span, locate, locate_id, replace

FOUND = {
    b'{"id": 7}': b"7",
    b'{ "a" : {"id":1} , "id":"x\\"y" }': b'"x\\"y"',
    b'{"a":"\\"id\\":3","id":4,"b":[]}': b"4",
    b'{"result":{"id":1,"x":["}",{"id":2}]},"id":-3}\n': b"-3",
    b'{"\\u0069d":5}': b"5",
    b'{"a":[{"b":[1,"]"]}],"id":{"c":{}},"d":0}': b'{"c":{}}',
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(("document", "value"), FOUND.items())
def test_an_id_is_found(document: bytes, value: bytes) -> None:
    for span in (locate(document, "id"), locate_id(document)):
        assert span is not None
        assert span.of(document) == value


@pytest.mark.parametrize("document", [b"[]", b"{}", b'"id"', b'{"a":{"id":1}}', b'{"id"', b'{"a":[', b""])
def test_what_is_not_there_is_not_found(document: bytes) -> None:
    assert locate(document, "id") is None


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4), JSON, st.booleans(), st.integers(0, 3))
def test_a_value_is_replaced_and_nothing_else(
    around: dict[str, Any], value: Any, ascii_only: bool, indent: int
) -> None:
    document = {**around, "deep": {**around, "here": value}}
    raw = json.dumps(document, ensure_ascii=ascii_only, indent=indent or None).encode("utf-8", "replace")
    span = locate(raw, "deep", "here")
    assert span is not None
    changed = replace(raw, [(span, b"[1]")])
    assert changed[: span.start] == raw[: span.start]
    assert changed[span.start + 3 :] == raw[span.end :]
    parsed = json.loads(changed)
    assert parsed["deep"].pop("here") == [1]
    before = json.loads(raw)
    before["deep"].pop("here")
    assert parsed == before


def test_several_are_replaced_at_once() -> None:
    assert replace(b"abcdef", [(Span(4, 5), b"-"), (Span(0, 2), b"xyz")]) == b"xyzcd-f"
