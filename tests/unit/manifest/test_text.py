"""Text rules: what can hide, reorder or imitate is refused."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.text import check_text, check_texts, check_tool_name
from spiffe_mcp.strict_json import JsonValue

HIDDEN = {
    "escape that starts an ANSI sequence": "\x1b[31m",
    "null": "\x00",
    "carriage return": "a\rb",
    "delete": "\x7f",
    "C1 control": "\x85",
    "soft hyphen": "\xad",
    "zero width space": "\u200b",
    "zero width non-joiner": "\u200c",
    "zero width joiner": "\u200d",
    "word joiner": "\u2060",
    "byte order mark inside": "a\ufeffb",
    "bidi override": "\u202egnp.exe",
    "bidi isolate": "\u2066a\u2069",
    "right-to-left mark": "\u200f",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "TAG letter": "\U000e0061",
    "TAG block, unassigned": "\U000e0002",
    "variation selector 16": "\u2764\ufe0f",
    "variation selector 17": "a\U000e0100",
    "Mongolian variation selector": "\u180b",
    "combining grapheme joiner": "a\u034fb",
    "Hangul filler": "\u3164",
    "halfwidth Hangul filler": "\uffa0",
    "Hangul choseong filler": "\u115f",
    "Khmer inherent vowel": "\u17b4",
    "blank Braille": "\u2800",
    "interlinear annotation": "\ufff9",
    "private use": "\ue000",
    "private use, plane 16": "\U00100000",
    "unassigned": "\u0378",
    "noncharacter": "\uffff",
    "lone surrogate": "\ud800",
    "decomposed": "Zu\u0308rich",
    "compatibility singleton": "\u212b",
}


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN.keys())
def test_hidden_text_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        check_text(f"get{text}weather", "$")

    assert refusal.value.reason is Reason.MANIFEST_TEXT
    assert refusal.value.detail.isascii()


@pytest.mark.parametrize(
    "text",
    ["", "two\nlines\tand a tab", "Zürich\n\tBern", "Zürich", "東京", "ελληνικά", "עברית", "☀ 🌧", "≤ 5 µm"],
)
def test_plain_text_of_any_script_passes(text: str) -> None:
    check_text(text, "$")


@pytest.mark.parametrize("value", [{"a": [{"b": "x\u200b"}]}, {"a": {"x\u200b": 1}}, ["x\u200b"]])
def test_every_string_inside_is_looked_at(value: JsonValue) -> None:
    with pytest.raises(Refused) as refusal:
        check_texts(value, "$")

    assert refusal.value.reason is Reason.MANIFEST_TEXT


def test_the_refusal_names_path_and_code_point() -> None:
    with pytest.raises(Refused) as refusal:
        check_texts({"a": [{"b": "x\u200b"}]}, "$")

    assert refusal.value.detail == "$.a[0].b: U+200B"


@pytest.mark.parametrize("name", ["get_weather", "a", "A-b.c_9", "x" * 128])
def test_ascii_names_are_names(name: str) -> None:
    assert name == check_tool_name(name, "$")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 129,
        "get weather",
        "get_weather\n",
        "get\u0435",
        "get\u200b",
        "a/b",
        "a:b",
        "é",
        "٣",
        None,
        5,
        ["a"],
    ],
)
def test_other_names_are_refused(name: JsonValue) -> None:
    with pytest.raises(Refused) as refusal:
        check_tool_name(name, "$")

    assert refusal.value.reason is Reason.MANIFEST_TOOL_NAME
