"""The canonical form: RFC 8785 where it is unambiguous, a refusal where it is not."""

import json

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.canonical import canonical, digest, sha256_hex
from spiffe_mcp.strict_json import JsonValue


def test_the_example_of_rfc_8785_has_the_form_the_rfc_gives() -> None:
    given = json.loads(
        r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
             "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
    )
    given["numbers"].pop(1)  # 1e30 stands for many integers, and is refused below
    expected = (
        r'{"literals":[null,true,false],"numbers":[333333333.3333333,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}'
    )

    assert expected.encode() == canonical(given)


def test_keys_are_ordered_by_utf_16_code_units() -> None:
    """An astral character sorts before U+FB33 there, and after it by code point."""
    assert '{"😀":1,"\ufb33":2}'.encode() == canonical({"\ufb33": 2, "😀": 1})


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0, -0.0), (100, 1e2)])
def test_numbers_that_are_equal_have_one_form(one: JsonValue, other: JsonValue) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    "number",
    [2**53, -(2**53), 10**300, 9007199254740992.0, 12345678901234567890.0, -1e30, float("nan"), float("inf")],
)
def test_a_number_that_a_double_cannot_tell_from_its_neighbour_is_refused(number: JsonValue) -> None:
    with pytest.raises(Refused) as refusal:
        canonical({"deep": [number]})

    assert refusal.value.reason is Reason.MANIFEST_NUMBER


@pytest.mark.parametrize("number", [2**53 - 1, -(2**53) + 1, 9007199254740991.0, 1.5e-300])
def test_the_widest_safe_numbers_are_kept(number: JsonValue) -> None:
    assert json.loads(canonical(number)) == number


def test_a_value_too_deep_to_walk_is_refused() -> None:
    value: JsonValue = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(Refused) as refusal:
        canonical(value)

    assert refusal.value.reason is Reason.JSON_TOO_DEEP


def test_a_digest_names_its_algorithm() -> None:
    assert f"sha256:{sha256_hex(b'{}')}" == digest({})
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
