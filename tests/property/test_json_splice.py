"""For any document: what is spliced reads as if its value had been changed, and nothing else was touched."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.mcp.json_splice import spliced
from tests.property.test_mcp_messages import json_values, texts

objects = st.dictionaries(texts, json_values, max_size=5)
keys = st.sampled_from(["a", "ttlMs", "k\u00fc", 'q"\\', ""])
changes = st.dictionaries(keys, json_values, max_size=4)
indents = st.sampled_from([None, 0, 3, "\t"])


def written(value: Any, indent: Any, ascii_only: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()


@given(objects, objects, changes, indents, st.booleans())
def test_members_become_what_they_are_changed_to(
    around: dict[str, Any], inner: dict[str, Any], changed: dict[str, Any], indent: Any, ascii_only: bool
) -> None:
    document = written({**around, "result": inner}, indent, ascii_only)
    values = {key: json.dumps(value).encode() for key, value in changed.items()}
    after = spliced(document, "result", values)
    assert json.loads(after) == {**around, "result": {**inner, **changed}}
    assert not values or spliced(after, "result", values) == after, "once is enough"


@given(objects, st.lists(st.tuples(json_values, st.booleans()), max_size=6), indents, st.booleans())
def test_elements_stay_or_go_as_they_are_written(
    around: dict[str, Any], elements: list[tuple[Any, bool]], indent: Any, ascii_only: bool
) -> None:
    result = {"entries": [value for value, _ in elements], "nextCursor": ""}
    document = written({**around, "result": result}, indent, ascii_only)
    after = spliced(document, "result", {"entries": [kept for _, kept in elements]})
    kept = [value for value, stays in elements if stays]
    assert json.loads(after) == {**around, "result": {"entries": kept, "nextCursor": ""}}


@given(objects, objects, indents, st.booleans())
def test_no_change_is_no_change(
    around: dict[str, Any], inner: dict[str, Any], indent: Any, ascii_only: bool
) -> None:
    document = written({**around, "result": inner}, indent, ascii_only)
    assert spliced(document, "result", {}) == document
