"""What of an MCP server's answer a caller may see.

Enters: the permit of the call, and the head of the answer. Leaves: the filter that its body goes through. A
list of tools shows the signed copies of those tools that are still what was signed and that policy shows to
this caller; what a client might keep is its own, and for a minute at most (`mcp.caching`); of tasks it sees
its own (`mesh.tasks`). Everything else passes as it came, if it is the answer to this call and nothing else
(`mcp.AnswerFilter`).
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import ResponseHead
from spiffe_mcp.http.messages import values
from spiffe_mcp.manifest import compare
from spiffe_mcp.mcp import (
    AnswerFilter,
    Call,
    CallJudge,
    Era,
    Kind,
    Response,
    StreamJudge,
    caching,
    parse_tool_list,
    rewrite_tool_list,
)
from spiffe_mcp.mcp.answer_filter import NothingFilter
from spiffe_mcp.mcp.era import ASSUMED_VERSION
from spiffe_mcp.mcp.judge import OfAnEra, Remember, Unasked
from spiffe_mcp.mcp.subscriptions import OfASubscription, SubscriptionJudge
from spiffe_mcp.mcp.tasks import created_by, mentioned_in_result, only_own
from spiffe_mcp.mcp.tools import tool_name
from spiffe_mcp.mesh import relay
from spiffe_mcp.mesh.behind import Behind, Observer
from spiffe_mcp.mesh.changes import OfVisible
from spiffe_mcp.mesh.granted import Permit
from spiffe_mcp.mesh.questions import Questions
from spiffe_mcp.mesh.reading import Listening
from spiffe_mcp.mesh.replays import Owed
from spiffe_mcp.mesh.subscribed import OfSubscribed
from spiffe_mcp.mesh.tasks import OfOwnTasks, OwnTasks
from spiffe_mcp.strict_json import JsonObject

MAX_TTL_MS: Final = 60_000  # how long a client may keep anything


def filter_for(permit: Permit, head: ResponseHead, behind: Behind) -> relay.Filter:
    """The filter of the answer to `permit`; raises `Refused` for a type of content that is no answer."""
    own = OwnTasks(behind.memory.tasks, permit.authenticated.maker, behind.clock)
    match permit.authenticated.inbound.asked:
        case Call() as call:
            return _of_call(call, permit, head, behind, own)
        case Listening() if head.status == HTTPStatus.OK:
            return _of_stream(permit, head, behind, own)
        case _:
            return relay.Nothing()  # the end of a session, an answer, no stream: no body is worth reading


def _of_call(call: Call, permit: Permit, head: ResponseHead, behind: Behind, own: OwnTasks) -> relay.Filter:
    version = call.revision.version or ""

    def passed(answer: Response) -> bytes:
        if answer.result is not None:
            _check_tasks(call, answer.result, own)
            _follow_subscription(call, permit, behind)
        return _passed(answer, call.action, version, permit, behind.observe, own)

    if (subscription := permit.decided.subscription) is not None:
        told = OfVisible(OfOwnTasks(OfASubscription(subscription), own), permit, behind)
        ends = CallJudge(call).response
        return AnswerFilter.of(relay.content_type(head.headers), SubscriptionJudge(subscription, ends, told))
    if call.era is Era.LEGACY:
        said, remember = _said_in_session(permit, behind, own), _remember(permit, Owed.by(call), behind)
    else:
        said, remember = OfVisible(OfOwnTasks(OfAnEra(call.era), own), permit, behind), None
    judge = CallJudge(call, passed, said, remember)
    if call.id is None:
        return NothingFilter(judge)
    return AnswerFilter.of(relay.content_type(head.headers), judge)


def _of_stream(permit: Permit, head: ResponseHead, behind: Behind, own: OwnTasks) -> relay.Filter:
    """Of a GET: what a server says unasked, and of answers the one that the stream goes on with."""
    if not relay.is_event_stream(head.headers):
        raise Refused(Reason.MCP_ANSWER_TYPE, "a GET is answered with a stream")
    owed = permit.authenticated.owed

    def is_owed(answer: Response) -> bool:
        return owed is not None and owed.is_paid_by(answer) and _without_tasks(answer)

    def passed(answer: Response) -> bytes:
        action = owed.action if owed is not None else ""
        return _passed(answer, action, _version(permit), permit, behind.observe, own)

    judge = StreamJudge(
        is_owed,
        passed,
        _said_in_session(permit, behind, own),
        _remember(permit, owed, behind) or _forgets,
    )
    return AnswerFilter.of(relay.content_type(head.headers), judge)


def _said_in_session(permit: Permit, behind: Behind, own: OwnTasks) -> Unasked:
    """Judges what a legacy server says unasked, which may know of one list of listeners for all sessions."""
    session = permit.authenticated.session

    def subscribed(uri: str) -> bool:
        return session is not None and behind.memory.subscribed.has(session, uri, behind.clock())

    said = OfSubscribed(OfOwnTasks(Questions(permit, behind), own), subscribed)
    return OfVisible(said, permit, behind)


def _follow_subscription(call: Call, permit: Permit, behind: Behind) -> None:
    """Take note of what a legacy session has subscribed to; raises `Refused(SUBSCRIPTIONS_FULL)`."""
    session, uri = permit.authenticated.session, call.name
    if session is None or uri is None:
        return  # without a session there is no stream on which it could be told
    if call.action == "resources/subscribe":
        behind.memory.subscribed.added(session, uri, permit.authenticated.owner, behind.clock())
    elif call.action == "resources/unsubscribe":
        behind.memory.subscribed.removed(session, uri)


def _remember(permit: Permit, owed: Owed | None, behind: Behind) -> Remember | None:
    """What takes note of events; None outside of a session, where no stream is gone on with."""
    authenticated = permit.authenticated
    session, owner = authenticated.session, authenticated.owner
    if session is None:
        return None
    return lambda event: behind.memory.replays.passed(session, event, owed, owner, behind.clock())


def _forgets(_: bytes) -> bool:
    return False


def _without_tasks(answer: Response) -> bool:
    """Whether `answer` makes no task: whose it would be is not known any more of a call that is long over."""
    return answer.result is None or "task" not in answer.result


def _version(permit: Permit) -> str:
    found = values(permit.request.headers, b"mcp-protocol-version")
    return found[0].decode("latin-1") if found else ASSUMED_VERSION


def _passed(
    answer: Response, action: str, version: str, permit: Permit, observe: Observer, own: OwnTasks
) -> bytes:
    """What passes of the response to a call of `action`."""
    if action == "tools/list":
        return _listed(answer, version, permit, observe)
    if action == "tasks/list":
        return only_own(answer, own.has)
    if action in caching.CACHED:
        return caching.kept_private(answer, max_ttl_ms=MAX_TTL_MS)
    return answer.raw


def _check_tasks(call: Call, result: JsonObject, own: OwnTasks) -> None:
    """Note the task that was made, and return if `result` is about no task but the caller's own.

    Raises `Refused`: `MCP_TASK_FOREIGN`, `MCP_TASK_MALFORMED`, `TASK_UNUSABLE`, `TASKS_FULL`.
    """
    created = created_by(call, result)
    if created is not None:
        # Before the client has the ID, which it may use at once.
        own.created(created, call.name or "")
    for task_id in mentioned_in_result(call, result):
        if (call.kind is Kind.TASK and task_id != call.name) or not own.has(task_id):
            raise Refused(Reason.MCP_TASK_FOREIGN)


def _listed(answer: Response, version: str, permit: Permit, observe: Observer) -> bytes:
    manifest = permit.decided.selected.manifest.manifest
    tools = parse_tool_list(answer.result).tools if answer.result is not None else ()
    page = compare(manifest, tools, protocol_version=version)
    observe(page)
    shown = page.exposed.keys() & permit.decided.visible.keys()
    offered: dict[str, JsonObject] = {name: dict(page.exposed[name].definition) for name in shown}
    return rewrite_tool_list(answer, lambda tool: _signed(offered, tool), max_ttl_ms=MAX_TTL_MS)


def _signed(offered: Mapping[str, JsonObject], tool: JsonObject) -> JsonObject | None:
    return offered.get(tool_name(tool) or "")
