"""Two texts are one to a policy exactly where it asks of both the same and hears the same."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.policy.conversion import MAX_TEXT_BYTES
from spiffe_mcp.policy.likeness import Likeness
from spiffe_mcp.policy.rego import RegoPolicy
from spiffe_mcp.policy.source import read_modules
from spiffe_mcp.strict_json import JsonObject, JsonValue

HEAD: Final = "package mcp.authz\nimport rego.v1\n\n"
RULE: Final = 'decision := {"allow": contains(input.arguments.text, "drop table")}\n'


def likeness(*sources: str) -> Likeness:
    modules = {f"{place}.rego": HEAD + source for place, source in enumerate(sources)}
    return Likeness.among(read_modules(modules, lambda _: False))


def said(text: JsonValue, **others: JsonValue) -> JsonObject:
    return {"action": "tools/call", "arguments": {"text": text, **others}}


def are_alike(found: Likeness, one: JsonValue, other: JsonValue) -> bool:
    return found.of(said(one)) == found.of(said(other))


def test_texts_with_the_same_answers_are_alike() -> None:
    found = likeness(RULE)
    assert are_alike(found, "row 1", "row 2")
    assert are_alike(found, "drop table a", "drop table b")
    assert not are_alike(found, "row 1", "drop table a")


def test_each_question_about_a_text_counts() -> None:
    found = likeness(
        RULE,
        'a if startswith(input.arguments.text, "/etc")\nb if not endswith(input.arguments.text, ".md")\n',
    )
    assert are_alike(found, "/etc/a.md", "/etc/b.md")
    assert not are_alike(found, "/etc/a.md", "/etc/a.conf")
    assert not are_alike(found, "/etc/a.md", "/srv/a.md")
    assert not are_alike(found, "/etc/a.md", "/etc/drop table.md")


def test_all_else_of_a_question_is_left_alone() -> None:
    question = said("row 1", rows=1)
    assert likeness(RULE).of(question) == {
        "action": "tools/call",
        "arguments": {"text": (False,), "rows": 1},
    }
    assert question == said("row 1", rows=1)


@pytest.mark.parametrize(
    "another_use",
    [
        "a := input.arguments.text",
        'a if input.arguments.text == "x"',
        'a if contains("drop table", input.arguments.text)',
        'a if contains(lower(input.arguments.text), "x")',
        "a if contains(input.arguments.text, input.action)",
        'a if contains(input.arguments.text, "x\\"y")',
        "a if contains(input.arguments.text, `x`)",
        "a if count(input.arguments) > 1",
        "a if input.arguments.text.length",
        'a if input.arguments["text"]',
        'a if input["arguments"]',
        "a if count(input) > 1",
        "import input.arguments as args",
        'a if contains(input.arguments.text, "x") with input.arguments.text as "y"',
        "contains := 1",
        "startswith(a, b) if a == b",
    ],
)
def test_a_text_that_is_used_in_another_way_is_known_whole(another_use: str) -> None:
    for sources in ((RULE, another_use + "\n"), (another_use + "\n", RULE)):
        assert not are_alike(likeness(*sources), "row 1", "row 2")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\nb",
        'a"b',
        "a\\b",
        "\x7f",
        "\u00e9",
        "x" * (MAX_TEXT_BYTES + 1),
        1,
        None,
        True,
        ["row 1"],
        {"a": "row 1"},
    ],
    ids=lambda text: repr(text)[:12],
)
def test_what_is_no_plain_text_is_known_whole(text: JsonValue) -> None:
    question = said(text)
    assert likeness(RULE).of(question) == question


@pytest.mark.parametrize(
    "question", [{}, {"arguments": {}}, {"arguments": "drop table"}, {"arguments": None}]
)
def test_what_is_absent_stays_absent(question: JsonObject) -> None:
    assert likeness(RULE).of(question) == question


ENGINE: Final = RegoPolicy.compile(
    {
        "a.rego": HEAD
        + """
decision := {"allow": true, "rule": concat("", rules)}

rules contains "a" if contains(input.arguments.text, "ab")
rules contains "b" if startswith(input.arguments.text, "a")
rules contains "c" if endswith(input.arguments.text, "b b")
rules contains "d" if not contains(input.arguments.text, "c~")
"""
    }
)


@given(st.text(alphabet='ab c~\u00e9"\n', max_size=8))
def test_who_is_remembered_is_told_what_the_engine_would_say(text: str) -> None:
    question = said(text)
    assert ENGINE.evaluate(question) == ENGINE._decided(ENGINE._projection.of(question))
