"""Tasks through two agents: a server that hands out any task by its ID, and callers that see their own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import Any, Final

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.http import Reply, Request, ResponseHead
from tests.fakes.mcp_client import Answer, Plain, call, initialize, legacy, stateless
from tests.fakes.mcp_server import JSON, STREAM, Message, event
from tests.fakes.mesh import LIVE, Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

TAKES_TASKS: Final[dict[str, Any]] = {"extensions": {"io.modelcontextprotocol/tasks": {}}, "elicitation": {}}
RELATED: Final = "io.modelcontextprotocol/related-task"
ASKED: Final = ("tasks/get", "tasks/update", "tasks/cancel", "tasks/result", "tasks/list")

_ids = count(1)


class TaskServer:
    """As careless as a server may be that stands alone: an ID is all that it asks for."""

    def __init__(self) -> None:
        self.tasks: dict[str, Message] = {}

    async def make(self, message: Message, reply: Reply) -> None:
        """A task for each call, in the form of its era."""
        task_id = f"task-{next(_ids)}"
        task = self.tasks[task_id] = {"taskId": task_id, "status": "working", "text": _text(message)}
        is_legacy = "task" in message["params"]
        result = {"task": {**task, "ttl": 60_000}} if is_legacy else {"resultType": "task", **task}
        await _answer(message, reply, result)

    async def tell(self, message: Message, reply: Reply) -> None:
        """Whatever is asked about a task, or about all of them."""
        params = message["params"]
        if message["method"] == "tasks/list":
            return await _answer(message, reply, {"tasks": [*self.tasks.values()], "nextCursor": ""})
        task = self.tasks[params["taskId"]]
        if message["method"] == "tasks/result":
            content = [{"type": "text", "text": task["text"]}]
            meta = {RELATED: {"taskId": task["taskId"]}}
            return await _answer(message, reply, {"content": content, "_meta": meta})
        task["status"] = "cancelled" if message["method"] == "tasks/cancel" else task["status"]
        return await _answer(message, reply, {"resultType": "complete", **task})


def _text(message: Message) -> str:
    text: str = message["params"]["arguments"]["text"]
    return text


async def _answer(message: Message, reply: Reply, result: Message) -> None:
    body = {"jsonrpc": "2.0", "id": message["id"], "result": result}
    await reply.send(ResponseHead(200, JSON), json.dumps(body).encode())


@contextmanager
def making_tasks(mesh: Mesh) -> Iterator[TaskServer]:
    tasks = TaskServer()
    with mesh.server.answering(tasks.make), mesh.server.answering(tasks.tell, *ASKED):
        yield tasks


async def made_by(client: Plain, text: str) -> str:
    """The ID of a modern task."""
    params = {"name": "echo", "arguments": {"text": text}}
    answer = await client.ask(stateless("tools/call", params, capabilities=TAKES_TASKS))
    task_id: str = answer.document["result"]["taskId"]
    return task_id


def about(task_id: str, method: str = "tasks/get", **params: Any) -> Request:
    return stateless(method, {"taskId": task_id, **params}, capabilities=TAKES_TASKS)


class Session:
    """One caller's legacy session."""

    def __init__(self, client: Plain, session: bytes) -> None:
        self._client = client
        self._session = session

    @classmethod
    async def open(cls, client: Plain) -> "Session":
        opened = await client.ask(initialize())
        return cls(client, dict(opened.headers)[b"mcp-session-id"])

    async def ask(self, method: str, **params: Any) -> Answer:
        return await self._client.ask(legacy(method, params, session=self._session))

    async def make(self, text: str) -> str:
        """The ID of a legacy task."""
        answer = await self.ask("tools/call", name="echo", arguments={"text": text}, task={"ttl": 60_000})
        task_id: str = answer.document["result"]["task"]["taskId"]
        return task_id


async def test_a_caller_gets_updates_and_cancels_its_own_task(mesh: Mesh) -> None:
    with making_tasks(mesh):
        task_id = await made_by(mesh.planner, "mine")
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            answer = await mesh.planner.ask(about(task_id, method))
            assert answer.document["result"]["taskId"] == task_id
            record = mesh.log("ingress").last()
            assert (record["action"], record["tool"], record["outcome"]) == (method, "echo", "completed")
        assert answer.document["result"]["status"] == "cancelled"


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_for_another_caller_it_is_as_one_that_never_was(mesh: Mesh, method: str) -> None:
    with making_tasks(mesh):
        task_id = await made_by(mesh.planner, "mine")
        with mesh.server.untouched():
            foreign = await mesh.reviewer.ask(about(task_id, method))
            unknown = await mesh.reviewer.ask(about("task-never", method))
            guest = await mesh.guest.ask(about(task_id, method))
        assert (foreign.status, foreign.code, foreign.reason) == (200, -32602, Reason.MCP_TASK_UNKNOWN.code)
        assert (foreign.status, foreign.headers, foreign.body) == (
            unknown.status,
            unknown.headers,
            unknown.body,
        )
        assert guest.body == unknown.body
        record = mesh.log("ingress").last()
        assert (record["decision"], record["reason"]) == ("refuse", Reason.MCP_TASK_UNKNOWN.code)
        assert (await mesh.planner.ask(about(task_id))).document["result"]["status"] == "working"


async def test_a_legacy_task_is_its_sessions(mesh: Mesh) -> None:
    with making_tasks(mesh):
        mine, other = await Session.open(mesh.planner), await Session.open(mesh.reviewer)
        again = await Session.open(mesh.planner)
        task_id = await mine.make("rain")
        assert (await mine.ask("tasks/result", taskId=task_id)).text == "rain"
        for stranger in (other, again):
            for method in ("tasks/get", "tasks/result", "tasks/cancel"):
                with mesh.server.untouched():
                    answer = await stranger.ask(method, taskId=task_id)
                assert (answer.status, answer.code) == (200, -32602)
        assert (await mine.ask("tasks/cancel", taskId=task_id)).document["result"]["status"] == "cancelled"


async def test_each_lists_its_own(mesh: Mesh) -> None:
    with making_tasks(mesh) as server:
        mine, other = await Session.open(mesh.planner), await Session.open(mesh.reviewer)
        own = {session: [await session.make("a"), await session.make("b")] for session in (mine, other)}
        assert len(server.tasks) == 4
        for session, made in own.items():
            result = (await session.ask("tasks/list")).document["result"]
            assert [task["taskId"] for task in result["tasks"]] == made
            assert result["nextCursor"] == ""


async def test_a_status_of_anothers_task_is_left_out_of_a_stream(mesh: Mesh) -> None:
    with making_tasks(mesh):
        mine, other = await Session.open(mesh.planner), await Session.open(mesh.reviewer)
        task_ids = [await mine.make("a"), await other.make("b")]

        async def gossip(message: Message, reply: Reply) -> None:
            await reply.start(STREAM)
            for task_id in task_ids:
                params = {"taskId": task_id, "status": "completed"}
                status = {"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": params}
                await reply.write(event(json.dumps(status).encode()))
            body = {"jsonrpc": "2.0", "id": message["id"], "result": {"content": []}}
            await reply.write(event(json.dumps(body).encode()))
            reply.finish()

        with mesh.server.answering(gossip):
            heard = {
                session: (await session.ask("tools/call", name="echo", arguments={})).body
                for session in (mine, other)
            }
        for session, own, foreign in ((mine, 0, 1), (other, 1, 0)):
            assert task_ids[own].encode() in heard[session]
            assert task_ids[foreign].encode() not in heard[session]
            assert b'"content"' in heard[session], "and the answer came"


async def test_an_answer_about_anothers_task_does_not_pass(mesh: Mesh) -> None:
    with making_tasks(mesh) as server:
        task_id, foreign = await made_by(mesh.planner, "mine"), await made_by(mesh.reviewer, "not yours")
        server.tasks[task_id] = server.tasks[foreign]
        answer = await mesh.planner.ask(about(task_id))
        assert answer.status == 502
        assert b"not yours" not in answer.body
        assert mesh.log("ingress").last()["reason"] == Reason.MCP_TASK_FOREIGN.code


async def test_a_client_that_takes_no_tasks_is_given_none(mesh: Mesh) -> None:
    with making_tasks(mesh):
        assert (await mesh.planner.ask(call("echo", text="hi"))).status == 502
        assert mesh.log("ingress").last()["reason"] == Reason.MCP_CAPABILITY_UNDECLARED.code


async def test_a_task_of_a_tool_that_has_changed_is_closed_with_it(mesh: Mesh) -> None:
    drifted = [{**tool, "description": "other"} if tool["name"] == "echo" else tool for tool in LIVE]
    with making_tasks(mesh):
        task_id = await made_by(mesh.planner, "mine")
        with mesh.server.listing(drifted):
            await mesh.planner.ask(stateless("tools/list"))
            seen = len(mesh.server.requests)
            answer = await mesh.planner.ask(about(task_id))
            assert not any(task_id.encode() in request.body for request in mesh.server.requests[seen:])
            assert answer.reason == Reason.MCP_TASK_UNKNOWN.code
        mesh.clock.advance(timedelta(seconds=mesh.site.recheck + 1))
        assert (await mesh.planner.ask(about(task_id))).document["result"]["taskId"] == task_id


async def test_no_log_has_the_id_of_a_task(mesh: Mesh) -> None:
    """Last in the module."""
    for side in ("ingress", "planner", "reviewer"):
        assert mesh.log(side).report().intact
        assert "task-" not in mesh.log(side).path.read_text()
