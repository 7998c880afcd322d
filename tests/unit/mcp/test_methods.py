"""Methods are passed by an allow-list, era by era, and what each acts upon is read from its parameters."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.era import Era
from spiffe_mcp.mcp.methods import (
    MAX_NAME_LENGTH,
    NOTIFICATIONS,
    REQUESTS,
    Kind,
    Subject,
    subject_of_notification,
    subject_of_request,
)
from spiffe_mcp.strict_json import JsonObject

PROMPT_REF: JsonObject = {"type": "ref/prompt", "name": "hello"}


@pytest.mark.parametrize("era", Era)
@pytest.mark.parametrize(
    ("method", "params", "subject"),
    [
        ("tools/list", None, Subject(Kind.NONE)),
        ("tools/list", {"cursor": "x"}, Subject(Kind.NONE)),
        ("tools/call", {"name": "add"}, Subject(Kind.TOOL, "add")),
        ("tools/call", {"name": "add", "arguments": {"a": 1}}, Subject(Kind.TOOL, "add", {"a": 1})),
        ("prompts/get", {"name": "p", "arguments": {}}, Subject(Kind.PROMPT, "p", {})),
        ("resources/read", {"uri": "demo://ü"}, Subject(Kind.RESOURCE, "demo://ü")),
        ("tasks/get", {"taskId": "t"}, Subject(Kind.TASK, "t")),
        ("tasks/cancel", {"taskId": "t"}, Subject(Kind.TASK, "t")),
        ("completion/complete", {"ref": PROMPT_REF}, Subject(Kind.PROMPT, "hello")),
        (
            "completion/complete",
            {"ref": {"type": "ref/resource", "uri": "demo://{x}"}},
            Subject(Kind.RESOURCE, "demo://{x}"),
        ),
    ],
)
def test_a_request_says_what_it_acts_upon(
    era: Era, method: str, params: JsonObject | None, subject: Subject
) -> None:
    assert subject_of_request(era, method, params) == subject


@pytest.mark.parametrize(
    ("era", "method", "kind"),
    [
        (Era.MODERN, "server/discover", Kind.NONE),
        (Era.MODERN, "tasks/update", Kind.TASK),
        (Era.LEGACY, "initialize", Kind.NONE),
        (Era.LEGACY, "logging/setLevel", Kind.NONE),
        (Era.LEGACY, "ping", Kind.NONE),
        (Era.LEGACY, "tasks/list", Kind.NONE),
        (Era.LEGACY, "tasks/result", Kind.TASK),
    ],
)
def test_methods_of_one_era_are_unknown_in_the_other(era: Era, method: str, kind: Kind) -> None:
    assert subject_of_request(era, method, {"taskId": "t"}).kind is kind
    other = Era.LEGACY if era is Era.MODERN else Era.MODERN
    with pytest.raises(Refused) as refused:
        subject_of_request(other, method, None)
    assert refused.value.reason is Reason.MCP_METHOD_UNKNOWN


@pytest.mark.parametrize("era", Era)
@pytest.mark.parametrize(
    "method",
    [
        "subscriptions/create",
        "resources/subscriptions",
        "Resources/Subscribe",
        "tasks/create",
        "Tasks/Get",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
        "Tools/Call",
        "tools/call ",
        "notifications/message",
        "constructor",
        "rpc.discover",
    ],
)
def test_what_is_not_on_the_list_is_refused_with_and_without_an_id(era: Era, method: str) -> None:
    with pytest.raises(Refused) as refused:
        subject_of_request(era, method, {})
    assert refused.value.reason is Reason.MCP_METHOD_UNKNOWN
    with pytest.raises(Refused) as refused:
        subject_of_notification(era, method)
    assert refused.value.reason is Reason.MCP_METHOD_UNKNOWN


@pytest.mark.parametrize("method", sorted(NOTIFICATIONS[Era.LEGACY]))
def test_legacy_notifications_pass_without_an_id_only(method: str) -> None:
    assert subject_of_notification(Era.LEGACY, method) == Subject(Kind.NONE)
    with pytest.raises(Refused) as refused:
        subject_of_request(Era.LEGACY, method, None)
    assert refused.value.reason is Reason.MCP_NOTIFICATION_WITH_ID


@pytest.mark.parametrize("method", sorted(NOTIFICATIONS[Era.LEGACY]))
def test_modern_clients_have_no_notifications(method: str) -> None:
    with pytest.raises(Refused) as refused:
        subject_of_notification(Era.MODERN, method)
    assert refused.value.reason is Reason.MCP_METHOD_UNKNOWN


@pytest.mark.parametrize(("era", "method"), [(era, method) for era in Era for method in REQUESTS[era]])
def test_no_request_is_executed_without_an_id(era: Era, method: str) -> None:
    with pytest.raises(Refused) as refused:
        subject_of_notification(era, method)
    assert refused.value.reason is Reason.MCP_REQUEST_WITHOUT_ID


@pytest.mark.parametrize(
    ("method", "params", "reason"),
    [
        ("tools/call", None, Reason.MCP_PARAMS_MALFORMED),
        ("tools/call", {}, Reason.MCP_PARAMS_MALFORMED),
        ("tools/call", {"name": ""}, Reason.MCP_PARAMS_MALFORMED),
        ("tools/call", {"name": 1}, Reason.MCP_PARAMS_MALFORMED),
        ("tools/call", {"name": None}, Reason.MCP_PARAMS_MALFORMED),
        ("tools/call", {"name": ["a"]}, Reason.MCP_PARAMS_MALFORMED),
        ("tools/call", {"name": "x" * (MAX_NAME_LENGTH + 1)}, Reason.MCP_PARAMS_MALFORMED),
        ("tools/call", {"uri": "x"}, Reason.MCP_PARAMS_MALFORMED),
        ("tools/call", {"name": "a", "arguments": None}, Reason.MCP_PARAMS_MALFORMED),
        ("tools/call", {"name": "a", "arguments": []}, Reason.MCP_PARAMS_MALFORMED),
        ("tools/call", {"name": "a", "arguments": "{}"}, Reason.MCP_PARAMS_MALFORMED),
        ("prompts/get", {"arguments": {}}, Reason.MCP_PARAMS_MALFORMED),
        ("prompts/get", {"name": "p", "arguments": 1}, Reason.MCP_PARAMS_MALFORMED),
        ("resources/read", {"name": "x"}, Reason.MCP_PARAMS_MALFORMED),
        ("completion/complete", {}, Reason.MCP_PARAMS_MALFORMED),
        ("completion/complete", {"ref": "ref/prompt"}, Reason.MCP_PARAMS_MALFORMED),
        ("completion/complete", {"ref": {"type": "ref/tool", "name": "x"}}, Reason.MCP_PARAMS_MALFORMED),
        ("completion/complete", {"ref": {"type": "ref/prompt", "uri": "x"}}, Reason.MCP_PARAMS_MALFORMED),
        ("completion/complete", {"ref": {**PROMPT_REF, "Name": "other"}}, Reason.MCP_KEY_CASE),
    ],
)
def test_a_subject_that_cannot_be_read_is_refused(
    method: str, params: JsonObject | None, reason: Reason
) -> None:
    with pytest.raises(Refused) as refused:
        subject_of_request(Era.LEGACY, method, params)
    assert refused.value.reason is reason


def test_a_subject_has_a_kind_and_a_name_or_neither() -> None:
    for kind, name in ((Kind.TOOL, None), (Kind.NONE, "add")):
        with pytest.raises(Refused):
            Subject(kind, name)
