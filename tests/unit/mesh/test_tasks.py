"""A task's ID opens nothing by itself."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.mcp import Notification, Request
from spiffe_mcp.mcp.judge import WITHHELD
from spiffe_mcp.mcp.tasks import RELATED, CreatedTask
from spiffe_mcp.mesh.sessions import Owner
from spiffe_mcp.mesh.tasks import Maker, OfOwnTasks, OwnTasks, Tasks
from spiffe_mcp.strict_json import JsonObject, JsonValue
from spiffe_mcp.tables import LocalTable, digest
from tests.fakes.mini_ca import NOW

PLANNER = SpiffeId.parse("spiffe://a.test/planner")
OTHER = SpiffeId.parse("spiffe://a.test/other")
ALICE = Owner(PLANNER, PLANNER, "alice", "https://idp.a.test")
MINE = Maker(ALICE, None)
TASK = CreatedTask("t", 60)
SECOND = timedelta(seconds=1)

OTHERS = [
    Maker(replace(ALICE, peer=OTHER), None),
    Maker(replace(ALICE, caller=OTHER), None),
    Maker(replace(ALICE, sub="bob"), None),
    Maker(replace(ALICE, sub_iss="https://idp.b.test"), None),
    Maker(ALICE, b"a session"),
]


def with_task(capacity: int = 100, maker: Maker = MINE) -> Tasks:
    tasks = Tasks(LocalTable(capacity))
    tasks.created(TASK, maker, "slow", NOW)
    return tasks


def reason(tasks: Tasks, maker: Maker = MINE, task_id: str = "t", now: datetime = NOW) -> Reason | None:
    """Why `maker` may not ask about the task, or None."""
    try:
        tasks.tool_of(task_id, maker, now)
    except Refused as refused:
        return refused.reason
    return None


def test_its_maker_gets_it_with_the_tool_that_made_it() -> None:
    assert with_task().tool_of("t", MINE, NOW) == digest("slow")
    assert with_task().has("t", MINE, NOW)


@pytest.mark.parametrize("other", OTHERS)
def test_nobody_else_does(other: Maker) -> None:
    """Same ID, and each part of a maker counts."""
    assert reason(with_task(), other) is Reason.MCP_TASK_UNKNOWN
    assert not with_task().has("t", other, NOW)


def test_of_a_session_it_is_that_sessions() -> None:
    tasks = with_task(maker=Maker(ALICE, b"s"))
    assert reason(tasks, Maker(ALICE, b"s")) is None
    assert reason(tasks, Maker(ALICE, b"another")) is Reason.MCP_TASK_UNKNOWN
    assert reason(tasks, MINE) is Reason.MCP_TASK_UNKNOWN


def test_one_that_was_never_made_does_not_exist() -> None:
    assert reason(with_task(), task_id="u") is Reason.MCP_TASK_UNKNOWN


def test_one_that_nobody_asks_about_is_forgotten_after_its_lifetime() -> None:
    tasks = with_task()
    assert reason(tasks, now=NOW + 59 * SECOND) is None
    assert reason(tasks, now=NOW + 118 * SECOND) is None, "from when it was last asked about"
    assert reason(tasks, now=NOW + 178 * SECOND) is Reason.MCP_TASK_UNKNOWN


@pytest.mark.parametrize("other", OTHERS[:4])
def test_nobody_else_lets_it_last(other: Maker) -> None:
    tasks = with_task()
    assert reason(tasks, other, now=NOW + 59 * SECOND) is Reason.MCP_TASK_UNKNOWN
    assert reason(tasks, now=NOW + 60 * SECOND) is Reason.MCP_TASK_UNKNOWN


def test_being_told_of_it_does_not_let_it_last() -> None:
    tasks = with_task()
    assert tasks.has("t", MINE, NOW + 59 * SECOND)
    assert not tasks.has("t", MINE, NOW + 60 * SECOND)


def test_one_that_is_told_of_twice_is_one() -> None:
    """A stream that is resumed tells again what it told."""
    tasks = with_task()
    tasks.created(TASK, MINE, "slow", NOW + 30 * SECOND)
    assert reason(tasks, now=NOW + 80 * SECOND) is None


@pytest.mark.parametrize(("maker", "tool"), [*((other, "slow") for other in OTHERS[:4]), (MINE, "fast")])
def test_an_id_is_not_given_out_twice(maker: Maker, tool: str) -> None:
    tasks = with_task()
    with pytest.raises(Refused) as caught:
        tasks.created(TASK, maker, tool, NOW)
    assert caught.value.reason is Reason.TASK_UNUSABLE
    assert tasks.tool_of("t", MINE, NOW) == digest("slow")


def test_each_session_counts_for_itself() -> None:
    """A server that runs once for each session may begin each time with the same ID."""
    tasks = with_task(maker=Maker(ALICE, b"s"))
    other = Maker(replace(ALICE, sub="bob"), b"r")
    tasks.created(TASK, other, "fast", NOW)
    assert tasks.tool_of("t", other, NOW) == digest("fast")
    assert tasks.tool_of("t", Maker(ALICE, b"s"), NOW) == digest("slow")


def test_full_it_takes_no_more_and_forgets_none() -> None:
    tasks = with_task(capacity=2)
    with pytest.raises(Refused) as caught:
        tasks.created(CreatedTask("u", 60), MINE, "slow", NOW)
    assert caught.value.reason is Reason.TASKS_FULL
    assert reason(tasks) is None


def test_a_clock_that_was_set_back_makes_no_task() -> None:
    tasks = with_task()
    with pytest.raises(Refused) as caught:
        tasks.created(CreatedTask("u", 60), MINE, "slow", NOW - 61 * SECOND)
    assert caught.value.reason is Reason.TASKS_FULL


def test_one_callers_view_asks_for_that_caller_at_that_moment() -> None:
    tasks, moment = Tasks(LocalTable(10)), [NOW]
    mine = OwnTasks(tasks, MINE, lambda: moment[0])
    mine.created(TASK, "slow")
    assert mine.has("t")
    assert not OwnTasks(tasks, OTHERS[0], lambda: NOW).has("t")
    moment[0] += 60 * SECOND
    assert not mine.has("t")


class Everything:
    """Lets everything be said."""

    def notification(self, notification: Notification) -> bytes:
        return notification.raw

    def request(self, request: Request) -> bytes:
        return request.raw


def related(task_id: JsonValue) -> JsonObject:
    return {"_meta": {RELATED: {"taskId": task_id}}}


def heard(judge: OfOwnTasks, message: Notification | Request) -> bytes:
    return judge.request(message) if isinstance(message, Request) else judge.notification(message)


@pytest.mark.parametrize("params", [None, {}, related("t"), {"taskId": "u"}])
def test_what_is_about_its_own_tasks_or_none_a_caller_hears(params: JsonObject | None) -> None:
    judge = OfOwnTasks(Everything(), OwnTasks(with_task(), MINE, lambda: NOW))
    assert heard(judge, Notification(b"raw", "notifications/progress", params)) == b"raw"
    assert heard(judge, Request(b"raw", 1, "elicitation/create", params)) == b"raw"


@pytest.mark.parametrize("params", [related("u"), related(None), {"_meta": {RELATED: []}}])
def test_what_is_about_another_task_it_does_not_hear(params: JsonObject) -> None:
    judge = OfOwnTasks(Everything(), OwnTasks(with_task(), MINE, lambda: NOW))
    assert heard(judge, Notification(b"raw", "notifications/progress", params)) == WITHHELD
    with pytest.raises(Refused) as caught:
        heard(judge, Request(b"raw", 1, "elicitation/create", params))
    assert caught.value.reason is Reason.MCP_TASK_FOREIGN
