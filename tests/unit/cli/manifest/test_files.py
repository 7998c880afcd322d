"""In which forms a list of tools is understood."""

import json
from pathlib import Path

import pytest

from tests.fakes.publisher import tools
from tests.unit.cli.manifest.publishing import refused_with, sign


@pytest.mark.parametrize("form", ["array", "answer"])
def test_other_forms_of_a_list_are_understood(shop: Path, form: str) -> None:
    value = tools() if form == "array" else {"jsonrpc": "2.0", "id": 1, "result": {"tools": tools()}}
    (shop / "other.json").write_text(json.dumps(value))

    assert sign(shop, tools_file="other.json").exit_code == 0


@pytest.mark.parametrize("content", ["5", "{}", '{"tools": {}}', '{"tools": [], "nextCursor": "2"}', None])
def test_a_file_that_lists_no_tools_is_a_usage_error(shop: Path, content: str | None) -> None:
    if content is not None:
        (shop / "bad.json").write_text(content)

    assert sign(shop, tools_file="bad.json").exit_code == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", "json.malformed"),
        ('{"tools": [], "tools": []}', "json.duplicate_key"),
        ("[]", "manifest.tool_count"),
        ('["get_forecast"]', "manifest.definition"),
        ('[{"name": "a b", "inputSchema": {"type": "object"}}]', "manifest.tool_name"),
        ('[{"name": "a", "inputSchema": {"type": "object"}, "description": "\\u200b"}]', "manifest.text"),
        ('{"predicate": {}}', "manifest.field_missing"),
    ],
)
def test_tools_that_may_not_be_signed_are_refused_with_the_code(shop: Path, content: str, code: str) -> None:
    (shop / "bad.json").write_text(content)
    result = sign(shop, "--out", shop / "m.json", tools_file="bad.json")

    assert refused_with(result) == code
    assert not (shop / "m.json").exists()
