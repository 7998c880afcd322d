"""Strict JSON: what two parsers could read differently is refused, each for its own reason."""

import json
from collections.abc import Callable
from typing import Final

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import MAX_BYTES, MAX_DEPTH, MAX_INTEGER_DIGITS, JsonValue, loads, loads_object


def nested(depth: int, inner: bytes = b"") -> bytes:
    return b"[" * depth + inner + b"]" * depth


def nested_objects(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


GOOD: Final[dict[bytes, JsonValue]] = {
    b"{}": {},
    b" \t\r\n[1] \n": [1],
    b'{"a":{"a":1},"b":{"a":2}}': {"a": {"a": 1}, "b": {"a": 2}},
    b'{"a":1,"A":2}': {"a": 1, "A": 2},
    b"true": True,
    b"null": None,
    b"-0": 0,
    b"18446744073709551616": 2**64,
    b"9" * MAX_INTEGER_DIGITS: 10**MAX_INTEGER_DIGITS - 1,
    b"1E5": 100000.0,
    b"1.7976931348623157e308": 1.7976931348623157e308,
    b"5e-324": 5e-324,
    b"0.0e5": 0.0,
    b"-0.000": -0.0,
    b"0e-999": 0.0,
    b'"\\u0041\\/"': "A/",
    b'"\\ud83d\\ude00"': "\U0001f600",
    b'"\\\\ud800"': "\\ud800",
    '"\U0001f600é"'.encode(): "\U0001f600é",
    b'"\x7f"': "\x7f",
    nested(MAX_DEPTH): json.loads(nested(MAX_DEPTH)),
    nested_objects(MAX_DEPTH): json.loads(nested_objects(MAX_DEPTH)),
    b"[" + b"[]," * MAX_DEPTH + b"[]]": [[]] * (MAX_DEPTH + 1),
    b'"' + b"[" * (MAX_DEPTH + 1) + b'"': "[" * (MAX_DEPTH + 1),
}


@pytest.mark.parametrize(("document", "value"), GOOD.items())
def test_a_document_that_everybody_reads_alike_is_read(document: bytes, value: JsonValue) -> None:
    read = loads(document)
    assert read == value
    assert type(read) is type(value)


BAD: Final[dict[bytes, Reason]] = {
    # form
    b"": Reason.JSON_MALFORMED,
    b" ": Reason.JSON_MALFORMED,
    b"{": Reason.JSON_MALFORMED,
    b"{}{}": Reason.JSON_MALFORMED,
    b"{}\x00": Reason.JSON_MALFORMED,
    b"{}\n{}": Reason.JSON_MALFORMED,
    b"[1,]": Reason.JSON_MALFORMED,
    b'{"a":1,}': Reason.JSON_MALFORMED,
    b"{a:1}": Reason.JSON_MALFORMED,
    b"{'a':1}": Reason.JSON_MALFORMED,
    b"[1] // comment": Reason.JSON_MALFORMED,
    b"True": Reason.JSON_MALFORMED,
    b"\x0b{}": Reason.JSON_MALFORMED,
    "\u00a0{}".encode(): Reason.JSON_MALFORMED,
    b'"\t"': Reason.JSON_MALFORMED,
    b'"\n"': Reason.JSON_MALFORMED,
    b'"\\x41"': Reason.JSON_MALFORMED,
    b'"\\u12"': Reason.JSON_MALFORMED,
    b'"\\u1_23"': Reason.JSON_MALFORMED,
    b'"\\u+123"': Reason.JSON_MALFORMED,
    '"\\u066\u0661"'.encode(): Reason.JSON_MALFORMED,
    b'"a': Reason.JSON_MALFORMED,
    # numbers
    b"01": Reason.JSON_MALFORMED,
    b"+1": Reason.JSON_MALFORMED,
    b".5": Reason.JSON_MALFORMED,
    b"1.": Reason.JSON_MALFORMED,
    b"0x1": Reason.JSON_MALFORMED,
    b"1_000": Reason.JSON_MALFORMED,
    "1\u0661".encode(): Reason.JSON_MALFORMED,
    b"NaN": Reason.JSON_NUMBER,
    b"[Infinity]": Reason.JSON_NUMBER,
    b'{"a":-Infinity}': Reason.JSON_NUMBER,
    b"1e309": Reason.JSON_NUMBER,
    b"-1e999": Reason.JSON_NUMBER,
    b"1e-400": Reason.JSON_NUMBER,
    b"-0.1e-999": Reason.JSON_NUMBER,
    b"9" * (MAX_INTEGER_DIGITS + 1): Reason.JSON_NUMBER,
    # encoding
    b"\xef\xbb\xbf{}": Reason.JSON_NOT_UTF8,
    '{"a":1}'.encode("utf-16"): Reason.JSON_NOT_UTF8,
    b'"\xff"': Reason.JSON_NOT_UTF8,
    b'"\xc0\xaf"': Reason.JSON_NOT_UTF8,
    b'"\xed\xa0\x80"': Reason.JSON_NOT_UTF8,
    b'"\xf4\x90\x80\x80"': Reason.JSON_NOT_UTF8,
    # keys
    b'{"a":1,"a":1}': Reason.JSON_DUPLICATE_KEY,
    b'{"a":1,"\\u0061":2}': Reason.JSON_DUPLICATE_KEY,
    b'[{"x":{"a":1,"b":2,"a":3}}]': Reason.JSON_DUPLICATE_KEY,
    b'{"":1,"":2}': Reason.JSON_DUPLICATE_KEY,
    # surrogates
    b'"\\ud800"': Reason.JSON_SURROGATE,
    b'"\\udfff x"': Reason.JSON_SURROGATE,
    b'"\\ude00\\ud83d"': Reason.JSON_SURROGATE,
    b'"\\ud83d\\ud83d\\ude00"': Reason.JSON_SURROGATE,
    b'{"\\uD800":1}': Reason.JSON_SURROGATE,
    b'[1,{"a":[{"b":"\\uDBFF"}]}]': Reason.JSON_SURROGATE,
    # depth
    nested(MAX_DEPTH + 1): Reason.JSON_TOO_DEEP,
    nested_objects(MAX_DEPTH + 1): Reason.JSON_TOO_DEEP,
    b"[" * 100_000: Reason.JSON_TOO_DEEP,
    b'{"a":' * 100_000: Reason.JSON_TOO_DEEP,
    nested(MAX_DEPTH + 1, b'"\\ud800"'): Reason.JSON_TOO_DEEP,
}


@pytest.mark.parametrize(("document", "reason"), BAD.items())
def test_a_document_that_somebody_reads_differently_is_refused(document: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        loads(document)
    assert refused.value.reason is reason


def test_the_size_is_bounded_before_anything_is_read() -> None:
    with pytest.raises(Refused) as refused:
        loads(b"\xff" * (MAX_BYTES + 1))
    assert refused.value.reason is Reason.JSON_TOO_LARGE
    assert loads(b"[1]", max_bytes=3) == [1]


def test_the_depth_is_the_callers_to_choose() -> None:
    assert loads(nested(2), max_depth=2) == [[]]
    with pytest.raises(Refused) as refused:
        loads(nested(3), max_depth=2)
    assert refused.value.reason is Reason.JSON_TOO_DEEP


def test_a_generous_depth_exhausts_no_stack() -> None:
    with pytest.raises(Refused) as refused:
        loads(nested(900, b'"\\ud800"'), max_depth=5000)
    assert refused.value.reason is Reason.JSON_SURROGATE


@pytest.mark.parametrize("document", [b"[]", b"1", b'"{}"', b"null", b"true"])
def test_what_has_to_be_an_object_is_one(document: bytes) -> None:
    assert loads_object(b'{"a":1}') == {"a": 1}
    with pytest.raises(Refused) as refused:
        loads_object(document)
    assert refused.value.reason is Reason.JSON_MALFORMED


def test_what_the_operator_reads_holds_no_value_and_no_control_character() -> None:
    for document in (
        b'{"k\\n":"secret","k\\n":"secret"}',
        b'["secret", 1e999]',
        b'["secret"',
        b'["secret\\ud800"]',
    ):
        with pytest.raises(Refused) as refused:
            loads(document)
        assert "secret" not in refused.value.detail
        assert refused.value.detail.isprintable()


LONG = b'"' + b"x" * 9000 + b'"'


@pytest.mark.parametrize("brackets", [nested, nested_objects])
def test_a_long_document_may_not_be_deeper_than_a_short_one(brackets: Callable[[int], bytes]) -> None:
    loads(b"[%b,%b]" % (LONG, brackets(MAX_DEPTH - 1)))
    with pytest.raises(Refused) as refused:
        loads(b"[%b,%b]" % (LONG, brackets(MAX_DEPTH)))
    assert refused.value.reason is Reason.JSON_TOO_DEEP


def test_brackets_in_a_long_text_make_no_depth() -> None:
    assert loads(b'["%b"]' % (b"[{" * 9000)) == ["[{" * 9000]
