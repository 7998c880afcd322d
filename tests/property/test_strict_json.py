"""Whatever the bytes, the strict reader gives what the standard library gives, or `Refused`."""

import json
from typing import Any

from hypothesis import example, given
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


# As programs write: with blanks, which is read by the one decoder, and without, which mostly is by the other.
STYLES = st.sampled_from([(", ", ": "), (",", ":"), (",", ": ")])


@given(VALUES, st.booleans(), STYLES)
def test_what_was_written_is_read_again_to_the_last_digit(
    value: Any, escaped: bool, style: tuple[str, str]
) -> None:
    read = loads(json.dumps(value, ensure_ascii=escaped, separators=style).encode())
    assert read == value
    assert json.dumps(read) == json.dumps(value)


@given(st.binary() | st.lists(FRAGMENTS).map(b"".join))
@example(b"18446744073709551616")
@example(b"-0")
@example(b"1E2")
@example(b"1e400")
@example(b"1e-400")
@example(b"0.1000000000000000055")
@example(b'"\\u0041"')
@example(b'{"a":{"b":1,"b":1}}')
@example(b"[1]\n")
def test_anything_else_is_refused_or_read_as_everybody_reads_it(document: bytes) -> None:
    try:
        read = loads(document)
    except Refused:
        return
    assert json.dumps(read) == json.dumps(json.loads(document))
    json.dumps(read, ensure_ascii=False, allow_nan=False).encode()  # no surrogate, no infinity


@given(st.dictionaries(TEXT, st.integers(), min_size=1), st.data(), STYLES)
def test_a_key_that_comes_twice_is_always_refused(
    members: dict[str, int], data: st.DataObject, style: tuple[str, str]
) -> None:
    twice = data.draw(st.sampled_from(sorted(members)))
    value = data.draw(st.just(members[twice]) | st.integers())  # the very same member, or another
    first = json.dumps({twice: value}, separators=style)[:-1]
    rest = json.dumps(members, ensure_ascii=False, separators=style)[1:]
    try:
        loads(f"[{first},{rest}]".encode())
    except Refused:
        return
    raise AssertionError("one of two equal keys was silently dropped")
