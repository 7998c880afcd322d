"""What a schema declares is mirrored as the specification spells it, and nothing else is."""

from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.param_headers import check_mirrored, declared, mirror


def schema(**properties: Any) -> Any:
    return {"type": "object", "properties": properties}


def annotated(name: Any, kind: Any = "string") -> Any:
    return {"type": kind, "x-mcp-header": name}


def test_a_declaration_is_found_at_any_depth_of_plain_properties() -> None:
    nested = schema(region=annotated("Region"), where=schema(zone=annotated("Zone", "integer")), free={})
    assert declared(nested) == {b"mcp-param-region": ("region",), b"mcp-param-zone": ("where", "zone")}


def test_data_in_a_schema_declares_nothing() -> None:
    data = {"x-mcp-header": "Region", "type": "string"}
    harmless = {"type": "object", "default": data, "const": data, "enum": [data], "examples": [data]}
    assert declared(schema(plain=harmless)) == {}


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(annotated("Region"), id="the root"),
        pytest.param({"items": annotated("Region")}, id="an item"),
        pytest.param({"anyOf": [annotated("Region")]}, id="one of several"),
        pytest.param({"$defs": {"region": annotated("Region")}}, id="a definition"),
        pytest.param(
            {"if": schema(region=annotated("Region"))}, id="properties that another keyword leads to"
        ),
        pytest.param(schema(region=annotated("")), id="empty"),
        pytest.param(schema(region=annotated("a b")), id="no token"),
        pytest.param(schema(region=annotated("a\n")), id="a line break"),
        pytest.param(schema(region=annotated(7)), id="no text"),
        pytest.param(schema(region=annotated("Region", "number")), id="a number"),
        pytest.param(schema(region=annotated("Region", ["string", "null"])), id="several types"),
        pytest.param(schema(one=annotated("Region"), two=annotated("REGION")), id="twice, but for the case"),
    ],
)
def test_a_declaration_that_breaks_the_rules_is_refused(broken: Any) -> None:
    with pytest.raises(Refused) as refused:
        declared(broken)
    assert refused.value.reason is Reason.MCP_PARAM_HEADER_SCHEMA


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        ("eu-1", b"eu-1"),
        ("", b""),
        (7, b"7"),
        (-(2**70), str(-(2**70)).encode()),
        (True, b"true"),
        (False, b"false"),
        (" eu", b"=?base64?IGV1?="),
        ("zürich", b"=?base64?esO8cmljaA==?="),
        ("=?base64?YQ==?=", b"=?base64?PT9iYXNlNjQ/WVE9PT89?="),
    ],
)
def test_an_argument_is_spelled_so_that_it_survives_http(value: Any, spelled: bytes) -> None:
    headers = declared(schema(region=annotated("Region")))
    assert mirror(headers, {"region": value}) == ((b"mcp-param-region", spelled),)


@pytest.mark.parametrize("arguments", [{}, {"region": None}, {"region": {"deep": 1}}, {"region": [1]}])
def test_no_value_is_no_header(arguments: Any) -> None:
    assert mirror(declared(schema(region=annotated("Region"))), arguments) == ()


@pytest.mark.parametrize("arguments", [{}, {"where": None}, {"where": "here"}, {"where": {}}])
def test_a_path_that_leads_nowhere_is_no_header(arguments: Any) -> None:
    assert mirror(declared(schema(where=schema(zone=annotated("Zone")))), arguments) == ()


REGION = declared(schema(region=annotated("Region"), days=annotated("Days", "integer")))
NAME = b"mcp-param-region"


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({}, []),
        ({"region": None}, []),
        ({"region": "eu"}, [(NAME, b"eu")]),
        ({"region": "eu"}, [(NAME, b" eu\t"), (b"mcp-param-other", b"\xff")]),
        ({"region": "eu"}, [(NAME, b"=?base64?ZXU=?=")]),
        ({"region": "\u014csaka", "days": 3}, [(b"mcp-param-days", b"3"), (NAME, b"=?base64?xYxzYWth?=")]),
    ],
)
def test_headers_that_say_what_the_arguments_say_are_mirrors(arguments: Any, sent: Any) -> None:
    check_mirrored(REGION, arguments, sent)


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        pytest.param({"region": "eu"}, [], id="missing"),
        pytest.param({"region": "eu"}, [(NAME, b"us")], id="different"),
        pytest.param({"region": "eu"}, [(NAME, b"EU")], id="another case"),
        pytest.param({}, [(NAME, b"eu")], id="too many"),
        pytest.param({"region": None}, [(NAME, b"null")], id="null"),
        pytest.param({"days": 3}, [(b"mcp-param-days", b"03")], id="another spelling"),
    ],
)
def test_headers_that_say_something_else_are_refused(arguments: Any, sent: Any) -> None:
    with pytest.raises(Refused) as caught:
        check_mirrored(REGION, arguments, sent)
    assert caught.value.reason is Reason.MCP_PARAM_HEADER_MISMATCH


def test_a_mirror_that_cannot_be_decoded_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        check_mirrored(REGION, {"region": "eu"}, [(NAME, b"=?base64?!?=")])
    assert caught.value.reason is Reason.MCP_HEADER_MALFORMED
