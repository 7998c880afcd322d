"""A client is asked what it declared that it takes, and nothing else."""

from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.capabilities import NOTHING, Capability
from spiffe_mcp.mcp.message import Request
from spiffe_mcp.mcp.server_requests import check_offered, needed

ALL = ~NOTHING


def request(method: str, params: dict[str, Any] | None = None) -> Request:
    return Request(b"{}", 1, method, params)


@pytest.mark.parametrize(
    ("method", "params", "needs"),
    [
        ("ping", None, NOTHING),
        ("roots/list", None, Capability.ROOTS),
        ("sampling/createMessage", {"messages": []}, Capability.SAMPLING),
        ("sampling/createMessage", {"tools": []}, Capability.SAMPLING | Capability.SAMPLING_TOOLS),
        ("sampling/createMessage", {"toolChoice": {}}, Capability.SAMPLING | Capability.SAMPLING_TOOLS),
        ("elicitation/create", {"message": "?"}, Capability.ELICITATION),
        ("elicitation/create", {"mode": "form"}, Capability.ELICITATION),
        ("elicitation/create", {"mode": "url"}, Capability.ELICITATION_URL),
    ],
)
def test_each_takes_what_the_client_has_to_have_declared(
    method: str, params: dict[str, Any] | None, needs: Capability
) -> None:
    check_offered(request(method, params), needs)
    for one in Capability:
        if one & needs:
            with pytest.raises(Refused) as caught:
                check_offered(request(method, params), ALL & ~one)
            assert caught.value.reason is Reason.MCP_CAPABILITY_UNDECLARED


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "x"}),
        ("tasks/list", None),
        ("elicitation/create", {"mode": "voice"}),
        ("elicitation/create", {"mode": None}),
        ("sampling/createMessage", {"task": {"ttl": 1}}),
    ],
)
def test_what_is_not_on_the_list_nobody_is_asked(method: str, params: dict[str, Any] | None) -> None:
    with pytest.raises(Refused) as caught:
        check_offered(request(method, params), ALL)
    assert caught.value.reason is Reason.MCP_SERVER_REQUEST_REFUSED


def test_another_spelling_of_what_decides_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        check_offered(request("sampling/createMessage", {"Tools": []}), ALL)
    assert caught.value.reason is Reason.MCP_ANSWER_MALFORMED


def test_in_a_result_of_2026_07_28_nobody_pings() -> None:
    with pytest.raises(Refused) as caught:
        needed("ping", {})
    assert caught.value.reason is Reason.MCP_SERVER_REQUEST_REFUSED
