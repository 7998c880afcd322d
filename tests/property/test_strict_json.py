"""Whatever the bytes, the strict reader gives what the standard library gives, or `Refused`."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.errors import Refused
from spiffe_mcp.strict_json import loads

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)
FRAGMENTS = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b'"a"',
        b"\\",
        b"\\ud83d",
        b"\\ude00",
        b"1",
        b"-",
        b".",
        b"e",
        b"0",
        b"NaN",
        b"\xff",
        b" ",
    ]
)


@given(VALUES, st.booleans())
def test_what_was_written_is_read_again_to_the_last_digit(value: Any, escaped: bool) -> None:
    read = loads(json.dumps(value, ensure_ascii=escaped).encode())
    assert read == value
    assert json.dumps(read) == json.dumps(value)


@given(st.binary() | st.lists(FRAGMENTS).map(b"".join))
def test_anything_else_is_refused_or_read_as_everybody_reads_it(document: bytes) -> None:
    try:
        read = loads(document)
    except Refused:
        return
    assert json.dumps(read) == json.dumps(json.loads(document))
    json.dumps(read, ensure_ascii=False, allow_nan=False).encode()  # no surrogate, no infinity


@given(st.dictionaries(TEXT, st.integers(), min_size=1), st.data())
def test_a_key_that_comes_twice_is_always_refused(members: dict[str, int], data: st.DataObject) -> None:
    twice = data.draw(st.sampled_from(sorted(members)))
    first, rest = json.dumps({twice: 0})[:-1], json.dumps(members, ensure_ascii=False)[1:]
    try:
        loads(f"{first},{rest}".encode())
    except Refused:
        return
    raise AssertionError("one of two equal keys was silently dropped")
