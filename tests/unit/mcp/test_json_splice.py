"""A member is changed in its text, and no other byte is."""

import json

import pytest

from spiffe_mcp.mcp.json_splice import Change, spliced

SPELLED = (
    b'{ "a" : [1.50, 1e2,\n-0.0 ] ,"result":\t'
    b'{"x":"\\u00fc\\/","list" : [ {"n": 1} ,2,"three" ], "y":1E+2 } ,"z":{}}'
)


@pytest.mark.parametrize(
    ("changes", "before", "after"),
    [
        ({"y": b"0"}, b"1E+2", b"0"),
        ({"x": b'"new"'}, b'"\\u00fc\\/"', b'"new"'),
        ({"list": [True, False, True]}, b'[ {"n": 1} ,2,"three" ]', b'[{"n": 1},"three"]'),
        ({"list": [False, False, False]}, b'[ {"n": 1} ,2,"three" ]', b"[]"),
        ({"new": b"true"}, b'{"x":', b'{"new":true,"x":'),
        ({"new": b"1", "newer": b"2"}, b'{"x":', b'{"new":1,"newer":2,"x":'),
        ({}, b"", b""),
    ],
)
def test_only_what_is_changed_changes(changes: dict[str, Change], before: bytes, after: bytes) -> None:
    assert spliced(SPELLED, "result", changes) == SPELLED.replace(before, after, 1)


def test_several_members_are_changed_at_once() -> None:
    changes: dict[str, Change] = {"list": [True, True, False], "x": b"null", "n": b"7"}
    assert json.loads(spliced(SPELLED, "result", changes))["result"] == {
        "n": 7,
        "x": None,
        "list": [{"n": 1}, 2],
        "y": 100.0,
    }


def test_a_member_of_an_empty_object_is_added_without_a_comma() -> None:
    assert spliced(b'{"result":{ }}', "result", {"a": b"1"}) == b'{"result":{"a":1 }}'


def test_only_members_of_that_object_are_changed() -> None:
    document = b'{"ttl":1,"result":{"inner":{"ttl":1},"ttl":1}}'
    assert spliced(document, "result", {"ttl": b"0"}) == b'{"ttl":1,"result":{"inner":{"ttl":1},"ttl":0}}'


def test_a_key_is_compared_after_its_escapes() -> None:
    """As every reader does."""
    assert spliced(b'{"result":{"t\\u0074l":9}}', "result", {"ttl": b"0"}) == b'{"result":{"t\\u0074l":0}}'


def test_text_of_any_width_stands_where_it_stood() -> None:
    document = '{"a":"ü\u2028🦉","result":{"k":"🦉","v":1}}'.encode()
    assert spliced(document, "result", {"v": b"2"}) == document.replace(b'"v":1', b'"v":2')


@pytest.mark.parametrize(
    "changes", [{"list": [True]}, {"list": [True] * 4}, {"x": [True]}, {"absent": [True]}]
)
def test_elements_that_are_not_there_cannot_be_chosen(changes: dict[str, Change]) -> None:
    with pytest.raises(ValueError, match=r"no array|zip"):
        spliced(SPELLED, "result", changes)
