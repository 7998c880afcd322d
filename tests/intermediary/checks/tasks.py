"""Point 33, for what outlives a call: a task is who made it, and for anybody else it does not exist."""

from typing import Any, Final

from tests.intermediary.check import Bench, Need, check
from tests.intermediary.client import Answer, Client, Outgoing
from tests.intermediary.mcp import fresh_id, initialize, legacy, meta, modern, response
from tests.intermediary.upstream import Answering, Message

TASKS: Final = "io.modelcontextprotocol/tasks"
METHODS: Final = ("tasks/get", "tasks/update", "tasks/cancel")


async def _makes(message: Message, answering: Answering) -> None:
    """A task for each call, in the form of its era; its ID is the text of the call."""
    params = message["params"]
    task = {"taskId": params["arguments"]["text"], "status": "working"}
    result = {"task": {**task, "ttl": None}} if "task" in params else {"resultType": "task", **task}
    await answering.whole(response(message, result))


async def _tells(message: Message, answering: Answering) -> None:
    """Of any task to anybody."""
    task = {"taskId": message["params"]["taskId"], "status": "working"}
    await answering.whole(response(message, {"resultType": "complete", **task}))


def _taking_tasks(method: str, message_id: Any = None, **params: Any) -> Outgoing:
    said = {**params, "_meta": meta(extensions={TASKS: {}})}
    return modern(method, said, message_id=message_id)


async def _made(bench: Bench, client: Client) -> str:
    """The ID of a task that `client` made."""
    task_id = fresh_id()
    with bench.upstream.answering("tools/call", _makes):
        made = await client.ask(_taking_tasks("tools/call", name="echo", arguments={"text": task_id}))
    assert made.result["taskId"] == task_id
    return task_id


def _seen(answer: Answer, task_id: str) -> tuple[int, bytes]:
    return answer.status, answer.body.replace(task_id.encode(), b"TASK")


@check(33, "MCP tasks extension, Task Polling, Task Update Requests, Task Cancellation")
async def whoever_made_a_task_can_ask_about_it(bench: Bench) -> None:
    task_id = await _made(bench, bench.client)
    for method in METHODS:
        with bench.upstream.answering(method, _tells):
            answer = await bench.ask(_taking_tasks(method, taskId=task_id))
        assert answer.result["taskId"] == task_id


@check(33, "MCP tasks extension, Security Considerations: auth binding", Need.IDENTITIES)
async def a_task_of_another_caller_is_as_one_that_never_was(bench: Bench) -> None:
    assert bench.other is not None
    task_id = await _made(bench, bench.client)
    for method in METHODS:
        with bench.upstream.answering(method, _tells):
            mark = len(bench.upstream.received)
            foreign = await bench.other.ask(_taking_tasks(method, "suite-t", taskId=task_id))
            assert not bench.upstream.since(mark), "another caller's task was asked about"
            unknown = await bench.other.ask(_taking_tasks(method, "suite-t", taskId="suite-never"))
        assert _seen(foreign, task_id) == _seen(unknown, "suite-never")


@check(33, "MCP tasks extension, Streamable HTTP: Routing Headers")
async def a_mirror_that_names_another_task_is_refused(bench: Bench) -> None:
    one, other = await _made(bench, bench.client), await _made(bench, bench.client)
    asked = _taking_tasks("tasks/get", taskId=one)
    headers = tuple((name, other.encode() if name == b"Mcp-Name" else value) for name, value in asked.headers)
    await bench.refused(Outgoing(asked.body, headers), status=400, code=-32020)


@check(33, "MCP 2025-11-25 tasks, Task Isolation and Access Control", Need.IDENTITIES)
async def a_list_holds_the_tasks_of_whoever_asks(bench: Bench) -> None:
    """A server that stands alone lists the tasks of all."""
    assert bench.other is not None
    made: dict[Client, tuple[str, str]] = {}
    for client in (bench.client, bench.other):
        (session,) = (await client.ask(initialize())).head.values(b"mcp-session-id")
        made[client] = session.decode(), fresh_id()
        arguments = {"name": "echo", "arguments": {"text": made[client][1]}, "task": {}}
        with bench.upstream.answering("tools/call", _makes):
            await client.ask(legacy("tools/call", arguments, session=made[client][0]))

    async def lists_all(message: Message, answering: Answering) -> None:
        tasks = [{"taskId": task_id, "status": "working"} for _, task_id in made.values()]
        await answering.whole(response(message, {"tasks": tasks, "nextCursor": "more"}))

    with bench.upstream.answering("tasks/list", lists_all):
        for client, (session_id, task_id) in made.items():
            result = (await client.ask(legacy("tasks/list", {}, session=session_id))).result
            assert [task["taskId"] for task in result["tasks"]] == [task_id]
            assert result["nextCursor"] == "more"
