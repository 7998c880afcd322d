"""Each refusal has one form for the caller, and no form tells what the caller may not know."""

import json
from http import HTTPStatus

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.answers import answer_for, unknown_tool
from spiffe_mcp.mcp.era import Era, VersionRefused

RESERVED = range(-32768, -31999)
DEFINED = {-32700, -32600, -32601, -32602, -32603, -32020, -32022}


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (Reason.JSON_MALFORMED, 400, -32700),
        (Reason.JSON_NOT_UTF8, 400, -32700),
        (Reason.JSON_DUPLICATE_KEY, 400, -32600),
        (Reason.JSON_TOO_LARGE, 413, -32600),
        (Reason.MCP_BATCH, 400, -32600),
        (Reason.MCP_KEY_CASE, 400, -32600),
        (Reason.MCP_ID_MALFORMED, 400, -32600),
        (Reason.MCP_RESPONSE_UNEXPECTED, 400, -32600),
        (Reason.MCP_PARAMS_MALFORMED, 400, -32602),
        (Reason.MCP_META_MISSING, 400, -32602),
        (Reason.MCP_HEADER_DUPLICATE, 400, -32020),
        (Reason.MCP_HEADER_MISSING, 400, -32020),
        (Reason.MCP_HEADER_MISMATCH, 400, -32020),
        (Reason.MCP_VERSION_MISMATCH, 400, -32020),
        (Reason.MCP_VERSION_UNSUPPORTED, 400, -32022),
        (Reason.MCP_METHOD_UNKNOWN, 404, -32601),
        (Reason.MCP_TOOL_UNKNOWN, 200, -32602),
        (Reason.ID_NOT_AUTHORIZED, 403, 403002),
        (Reason.WORKLOAD_API_DENIED, 503, 503001),
        (Reason.CONFIG_INVALID, 500, -32603),
        (Reason.MCP_ANSWER_MALFORMED, 502, -32603),
    ],
)
def test_a_reason_has_its_status_and_code(reason: Reason, status: int, code: int) -> None:
    answer = answer_for(Refused(reason, "detail"), 7, Era.MODERN)
    body = json.loads(answer.body)
    assert (answer.status, body["error"]["code"], body["id"]) == (status, code, 7)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("era", Era)
def test_every_reason_is_answered_with_a_code_that_is_ours_to_use(reason: Reason, era: Era) -> None:
    body = json.loads(answer_for(Refused(reason, "x"), "id", era).body)
    code = body["error"]["code"]
    assert code in DEFINED or code not in RESERVED
    assert (body["jsonrpc"], body["id"]) == ("2.0", "id")
    assert body["error"]["message"]


@pytest.mark.parametrize(
    "reason", [r for r in Reason if r not in {Reason.MCP_TOOL_UNKNOWN, Reason.MCP_VERSION_UNSUPPORTED}]
)
def test_no_detail_reaches_the_caller(reason: Reason) -> None:
    answer = answer_for(Refused(reason, "10.0.0.7 refused"), 1, Era.LEGACY)
    assert b"10.0.0.7" not in answer.body


@pytest.mark.parametrize("reason", [r for r in Reason if r.status >= 500 and r.status != 503])
def test_what_went_wrong_inside_stays_inside(reason: Reason) -> None:
    error = json.loads(answer_for(Refused(reason), 1, Era.LEGACY).body)["error"]
    assert error == {"code": -32603, "message": "Internal error"}


def test_a_refused_tool_and_an_unknown_tool_are_the_same_bytes() -> None:
    raised = answer_for(Refused(Reason.MCP_TOOL_UNKNOWN, "delete_all"), 3, Era.MODERN)
    assert raised == answer_for(Refused(Reason.MCP_TOOL_UNKNOWN, "delete_all"), 3, Era.LEGACY)
    assert raised == unknown_tool("delete_all", 3)
    assert raised.body == (
        b'{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"Unknown tool: delete_all"}}'
    )


def test_an_unknown_method_is_a_response_in_the_legacy_era() -> None:
    answer = answer_for(Refused(Reason.MCP_METHOD_UNKNOWN), 1, Era.LEGACY)
    assert answer.status == HTTPStatus.OK
    assert json.loads(answer.body)["error"]["code"] == -32601


@pytest.mark.parametrize("reason", [Reason.MCP_VERSION_UNSUPPORTED, Reason.MCP_ERA_BELOW_MINIMUM])
def test_an_unsupported_version_names_the_supported_ones(reason: Reason) -> None:
    refused = VersionRefused(reason, "2099-01-01", ("2026-07-28",))
    error = json.loads(answer_for(refused, 1, Era.MODERN).body)["error"]
    assert error["code"] == -32022
    assert error["data"] == {"supported": ["2026-07-28"], "requested": "2099-01-01"}


def test_the_reason_and_the_publishers_words_reach_the_caller() -> None:
    refused = Refused(Reason.ID_NOT_AUTHORIZED, "spiffe://example.org/x")
    error = json.loads(answer_for(refused, 1, Era.MODERN, message="not in your plan").body)["error"]
    assert error["message"] == "not in your plan"
    assert error["data"] == {"reason": "identity.id_not_authorized"}


@pytest.mark.parametrize("reason", [Reason.MCP_TOOL_UNKNOWN, Reason.MCP_METHOD_UNKNOWN])
def test_what_has_no_id_is_rejected_and_not_answered(reason: Reason) -> None:
    answer = answer_for(Refused(reason, "x"), None, Era.LEGACY)
    assert answer.status >= HTTPStatus.BAD_REQUEST
    assert json.loads(answer.body)["id"] is None


def test_identifiers_are_echoed_with_their_type() -> None:
    bodies = [unknown_tool("x", identifier).body for identifier in ("3", 3, 2**53 - 1, "ü")]
    assert [json.loads(body)["id"] for body in bodies] == ["3", 3, 2**53 - 1, "ü"]
