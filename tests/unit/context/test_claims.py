"""Claims are read by name and type; what is not understood is refused."""

import pytest

from spiffe_mcp.context.claims import (
    MAX_NUMERIC_DATE,
    Claims,
    check_numeric_date,
    check_text,
    check_texts,
    loads,
)
from spiffe_mcp.errors import Reason, Refused
from tests.fakes.links import base64url


def test_claims_of_every_type_are_read() -> None:
    claims = Claims(loads(b'{"t":"x","l":["a","b"],"n":7,"f":0.5,"i":"spiffe://a.test/w","o":{"t":"y"}}'))
    assert claims.text("t") == claims.optional_text("t") == "x"
    assert claims.optional_texts("l") == ("a", "b")
    assert claims.numeric_date("n") == claims.optional_numeric_date("n") == 7
    assert claims.optional_number("f") == 0.5
    assert str(claims.spiffe_id("i")) == "spiffe://a.test/w"
    assert claims.object("o").text("t") == "y"
    assert Claims({"h": base64url(bytes(32))}).sha256("h") == bytes(32)


def test_what_is_optional_may_be_absent() -> None:
    claims = Claims({})
    assert claims.optional_text("t") is None
    assert claims.optional_texts("l") == ()
    assert claims.optional_number("n") is None
    assert claims.optional_numeric_date("n") is None


def test_a_missing_claim_is_named_with_its_path() -> None:
    with pytest.raises(Refused) as refusal:
        Claims({"act": {}}).object("act").text("sub")
    assert refusal.value.reason is Reason.CONTEXT_CLAIM_MISSING
    assert refusal.value.detail == "act.sub"


def test_an_unknown_claim_is_refused_and_not_named() -> None:
    with pytest.raises(Refused) as refusal:
        Claims({"a": 1, "s3cret": 2}).refuse_others_than(("a",))
    assert refusal.value.reason is Reason.CONTEXT_CLAIM_UNKNOWN
    assert "s3cret" not in refusal.value.detail


@pytest.mark.parametrize("text", ["a", "Ærøskøbing", "ウェザー", "a b", "\\\"'<>&", "x" * 256])
def test_printable_text_is_text(text: str) -> None:
    check_text("t", text)


@pytest.mark.parametrize(
    "text",
    ["", "\n", "a\r", "a\t", "\x00", "\x1b[2J", "\x7f", "\x85", "a\u2028b", "\u202e", "\u200b", "\ufeff", "\ud800", "x" * 257, "é" * 129],  # noqa: E501  one table
)  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        check_text("t", text)
    assert refusal.value.reason is Reason.CONTEXT_CLAIM_MALFORMED


def test_a_list_is_bounded_and_so_is_each_entry() -> None:
    check_texts("l", ("a",) * 64)
    for hostile in (("a",) * 65, ("a", ""), ("a" * 257,)):
        with pytest.raises(Refused) as refusal:
            check_texts("l", hostile)
        assert refusal.value.reason is Reason.CONTEXT_CLAIM_MALFORMED


def test_a_numeric_date_is_one_that_a_calendar_holds() -> None:
    check_numeric_date("d", 0)
    check_numeric_date("d", MAX_NUMERIC_DATE)
    for hostile in (-1, MAX_NUMERIC_DATE + 1, 2**63):
        with pytest.raises(Refused) as refusal:
            check_numeric_date("d", hostile)
        assert refusal.value.reason is Reason.CONTEXT_CLAIM_MALFORMED


def test_a_document_that_is_not_strict_json_names_the_rule_alone() -> None:
    with pytest.raises(Refused) as refusal:
        loads(b'{"s3cret":1,"s3cret":2}')
    assert refusal.value.reason is Reason.CONTEXT_MALFORMED
    assert refusal.value.detail == Reason.JSON_DUPLICATE_KEY.code
