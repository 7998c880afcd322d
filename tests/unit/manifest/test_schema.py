"""Arguments against the signed schema."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.schema import InputSchema
from spiffe_mcp.strict_json import JsonObject, JsonValue

FORECAST: JsonObject = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 8},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
        "a/b~c": {"type": "boolean"},
        "mail": {"format": "email"},
    },
    "required": ["city"],
    "additionalProperties": False,
}
# What a look-around needs, and what a back-reference makes of it: more steps than the bound allows.
BACKTRACKING: JsonObject = {"pattern": r"^(a+)+\1$"}
LONG = "a" * 60 + "b"


def of(**members: JsonValue) -> InputSchema:
    """The schema of an object with these keywords."""
    return InputSchema.compile({"type": "object", **members}, "tool")


@pytest.mark.parametrize(
    "arguments", [{"city": "Bern"}, {"city": "Bern", "days": 9}, {"city": "", "mail": "no mail"}]
)
def test_arguments_that_fit_pass(arguments: JsonObject) -> None:
    InputSchema.compile(FORECAST, "tool").validate(arguments)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({}, "/required"),
        ({"city": 5}, "/properties/city/type"),
        ({"city": "SECRET-VALUE"}, "/properties/city/maxLength"),
        ({"city": "Bern", "days": 10}, "/properties/days/maximum"),
        ({"city": "Bern", "days": 0}, "/properties/days/minimum"),
        ({"city": "Bern", "days": 1.5}, "/properties/days/type"),
        ({"city": "Bern", "days": True}, "/properties/days/type"),
        ({"city": "Bern", "days": 10**300}, "/properties/days/maximum"),
        ({"city": "Bern", "SECRET": 1}, "/additionalProperties"),
        ({"city": "Bern", "City": "x"}, "/additionalProperties"),
        ({"city": "Bern", "a/b~c": 1}, "/properties/a~1b~0c/type"),
        ({"city": "Bern", "\ud800": 1}, ""),
    ],
)
def test_the_refusal_names_the_rule_and_no_value(arguments: JsonObject, rule: str) -> None:
    with pytest.raises(Refused) as refusal:
        InputSchema.compile(FORECAST, "tool").validate(arguments)

    assert (refusal.value.reason, refusal.value.detail) == (Reason.MANIFEST_ARGUMENTS_INVALID, rule)


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        [],
        {},
        {"type": "array"},
        {"type": ["object", "array"]},
        {"type": "object", "properties": []},
        {"type": "object", "minProperties": -1},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"type": "object", "properties": {"a": {"pattern": r"(?:\pL{1000}){1000}"}}},
        {"type": "object", "$ref": "#/$defs/nowhere"},
        {"type": "object", "$ref": "https://evil.test/s"},
        {"type": "object", "$ref": "file:///etc/passwd"},
        {"type": "object", "$schema": "https://evil.test/meta"},
        {"type": "object", "$schema": 5},
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: JsonValue) -> None:
    with pytest.raises(Refused) as refusal:
        InputSchema.compile(schema, "tool")

    assert refusal.value.reason is Reason.MANIFEST_SCHEMA_INVALID


def test_the_default_draft_is_2020_12() -> None:
    """`prefixItems` came with it; in draft 7 the word means nothing."""
    items: JsonObject = {"a": {"prefixItems": [{"type": "integer"}]}}
    draft_7: JsonObject = {"$schema": "http://json-schema.org/draft-07/schema#"}
    of(properties=items, **draft_7).validate({"a": ["x"]})

    with pytest.raises(Refused):
        of(properties=items).validate({"a": ["x"]})


def test_references_that_run_in_a_circle_end() -> None:
    definitions: JsonObject = {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}
    circle: JsonObject = {"$ref": "#/$defs/a", "$defs": definitions}
    of(**circle).validate({})


def test_a_pattern_without_lookaround_takes_linear_time() -> None:
    """The classic of catastrophic backtracking, 100 000 characters long: an answer at once."""
    with pytest.raises(Refused):
        of(properties={"a": {"pattern": "^(a+)+$"}}).validate({"a": "a" * 100_000 + "b"})


def test_lookaround_works_where_a_pattern_has_to_match() -> None:
    mail = of(required=["a"], properties={"a": {"pattern": r"^(?!\.)(?!.*\.\.)[a-z.]+@[a-z.]+$"}})
    mail.validate({"a": "a.b@example.com"})

    with pytest.raises(Refused) as refusal:
        mail.validate({"a": "a..b@example.com"})
    assert refusal.value.detail == "/properties/a/pattern"


def test_a_pattern_that_exceeds_its_bound_refuses() -> None:
    with pytest.raises(Refused) as refusal:
        of(properties={"a": BACKTRACKING}).validate({"a": LONG})

    assert refusal.value.reason is Reason.MANIFEST_ARGUMENTS_INVALID


@pytest.mark.parametrize(
    "keywords",
    [
        {"properties": {"a": {"not": BACKTRACKING}}},
        {"properties": {"a": {"if": BACKTRACKING, "then": False}}},
        {"properties": {"a": {"oneOf": [BACKTRACKING, {"type": "string"}]}}},
        {"properties": {"a": {"contains": BACKTRACKING, "minContains": 0, "maxContains": 0}}},
        {"patternProperties": {BACKTRACKING["pattern"]: False}},
        {"not": {"$ref": "#/$defs/p"}, "$defs": {"p": {"properties": {"a": BACKTRACKING}}}},
        {"allOf": [{"properties": {"a": BACKTRACKING}}], "unevaluatedProperties": False},
    ],
)
def test_a_bounded_pattern_whose_failure_would_allow_is_refused(keywords: dict[str, JsonValue]) -> None:
    with pytest.raises(Refused) as refusal:
        of(**keywords)

    assert refusal.value.reason is Reason.MANIFEST_SCHEMA_INVALID


def test_the_same_keywords_with_a_linear_pattern_are_fine() -> None:
    with pytest.raises(Refused):
        of(properties={"a": {"not": {"pattern": "^(a+)+$"}}}).validate({"a": "aaa"})
