"""What a client of either era gets over HTTP from a program that speaks stdio."""

import asyncio
import json
import logging
from pathlib import Path

import pytest

from spiffe_mcp.http import Request
from spiffe_mcp.mesh.stdio.program import Processes, Program
from tests.unit.mesh.stdio.bridged import (
    EVENTS,
    JSON,
    Client,
    bridge,
    encoded,
    initialize,
    legacy,
    modern,
    program,
    soon,
    until,
)

SHARED = Processes.SHARED


# -- 2026-07-28 ---------------------------------------------------------------------------------------------


async def test_a_request_is_answered_as_json(tmp_path: Path) -> None:
    async with bridge(tmp_path, program()) as client:
        said = await client.modern("hi", "seven")
    assert (said.status, said.kind, said.last["id"], said.text) == (200, JSON, "seven", "hi")


async def test_what_comes_before_the_answer_makes_it_a_stream(tmp_path: Path) -> None:
    async with bridge(tmp_path, program()) as client:
        said = await client.modern("progress", progressToken="mine")
    assert (said.kind, said.text) == (EVENTS, "after progress")
    progress, answer = said.messages
    assert progress["params"] == {"progressToken": "mine", "progress": 1}
    assert answer["id"] == 1


async def test_clients_with_the_same_ids_and_tokens_share_a_process(tmp_path: Path) -> None:
    async with bridge(tmp_path, program()) as client:
        first, second = Client(client.target), Client(client.target)
        waiting = [soon(c.modern("wait", 1, progressToken=1)) for c in (first, second)]
        assert (await client.modern("progress", 1, progressToken=1)).text == "after progress"
        pids = {(await c.modern("pid")).text for c in (first, second, client)}
        assert len(pids) == 1
        assert (await client.modern("go", 1)).text == "go"
        for answer in await asyncio.gather(*waiting):
            assert (answer.last["id"], answer.text, answer.kind) == (1, "gone", JSON)
        for one in (first, second):
            one.http.retire()


async def test_to_leave_is_to_cancel(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with bridge(tmp_path, program()) as client:
        asked = client.request(b"POST", encoded(modern("wait")))
        sending = soon(client.http.send(asked))
        await until(lambda: "waiting" in caplog.text)
        sending.cancel()
        await asyncio.wait([sending])
        await until(lambda: "cancelled 2" in caplog.text)
        # The answer that comes all the same is nobody's.
        assert (await client.modern("go")).text == "go"
        assert "an answer that nobody waits for" in caplog.text


async def test_a_program_of_the_legacy_era_is_asked_once(tmp_path: Path) -> None:
    async with bridge(tmp_path, program("--era", "legacy")) as client:
        for _ in range(2):
            said = await client.modern("hi")
            assert (said.status, said.last["error"]["code"], said.last["id"]) == (400, -32022, 1)
            assert said.last["error"]["data"]["supported"][0] == "2025-11-25"
        session = (await client.initialize()).session
        assert (await client.legacy("hi", session)).text == "hi"


async def test_a_notification_that_names_nothing_is_for_the_one_who_asks(tmp_path: Path) -> None:
    async with bridge(tmp_path, program()) as client:
        said = await client.modern("note")
    assert [message.get("method") for message in said.messages] == ["notifications/message", None]


async def test_one_that_could_be_for_several_is_for_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bridge(tmp_path, program()) as client:
        waiting = soon(Client(client.target).modern("wait"))
        await until(lambda: "waiting" in caplog.text)
        said = await client.modern("note")
        assert (len(said.messages), said.text) == (1, "noted")
        assert "nobody is told of 'notifications/message'" in caplog.text
        await client.modern("go")
        assert len((await waiting).messages) == 1


# -- sessions, a process for each ---------------------------------------------------------------------------


async def test_each_session_has_a_process(tmp_path: Path) -> None:
    async with bridge(tmp_path, program()) as client:
        first, second = await client.initialize("a"), await client.initialize("b")
        assert (first.last["id"], second.last["id"]) == ("a", "b")
        assert first.last["result"]["protocolVersion"] == "2025-11-25"
        assert first.session != second.session
        pids = {(await client.legacy("pid", said.session)).text for said in (first, first, second)}
        assert len(pids) == 2


async def test_a_session_that_has_ended_is_unknown(tmp_path: Path) -> None:
    async with bridge(tmp_path, program()) as client:
        session = (await client.initialize()).session
        assert (await client.send(b"DELETE", session=session)).status == 200
        said = await client.legacy("hi", session)
        assert (said.status, said.reason) == (404, "mesh.session_unknown")


@pytest.mark.parametrize("session", [None, b"id-9"])
async def test_nobody_is_served_without_a_session(tmp_path: Path, session: bytes | None) -> None:
    async with bridge(tmp_path, program()) as client:
        assert (await client.legacy("hi", session)).status == 404
        assert (await client.send(b"GET", session=session)).status == 404
        assert (await client.say({"method": "notifications/initialized"}, session)).status == 404


async def test_a_client_cancels_what_it_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with bridge(tmp_path, program()) as client:
        session = (await client.initialize()).session
        waiting = soon(Client(client.target).legacy("wait", session, "w"))
        await until(lambda: "waiting" in caplog.text)
        cancel = {"method": "notifications/cancelled", "params": {"requestId": "w", "reason": "enough"}}
        assert (await client.say(cancel, session)).status == 202
        await until(lambda: "cancelled 2" in caplog.text)  # 1 was `initialize`
        await client.legacy("go", session)
        assert (await waiting).last["id"] == "w"
        assert (await client.say(cancel, session)).status == 202  # it has been answered: nothing is said
        assert caplog.text.count("cancelled 2") == 1


async def test_nobody_cancels_what_another_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with bridge(tmp_path, program(processes=SHARED)) as client:
        mine, other = (await client.initialize()).session, (await client.initialize()).session
        waiting = soon(Client(client.target).legacy("wait", mine, 7))
        await until(lambda: "waiting" in caplog.text)
        cancel = {"method": "notifications/cancelled", "params": {"requestId": 7}}
        assert (await client.say(cancel, other)).status == 202
        await client.legacy("go", other)
        assert (await waiting).text == "gone"
        assert "cancelled" not in caplog.text


async def test_to_leave_is_not_to_cancel_in_a_session(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bridge(tmp_path, program()) as client:
        session = (await client.initialize()).session
        asked = client.request(b"POST", encoded(legacy("wait")), session)
        sending = soon(client.http.send(asked))
        await until(lambda: "waiting" in caplog.text)
        sending.cancel()
        await asyncio.wait([sending])
        assert (await client.legacy("go", session)).text == "go"
        assert "cancelled" not in caplog.text


async def test_a_server_asks_the_client_of_its_session(tmp_path: Path) -> None:
    async with bridge(tmp_path, program()) as client:
        session = (await client.initialize()).session
        asked = client.request(b"POST", encoded(legacy("ask", 5)), session)
        async with await client.http.send(asked) as response:
            events = aiter(response)
            question = json.loads((await anext(events)).partition(b"data: ")[2])
            assert (question["id"], question["method"]) == ("mine", "sampling/createMessage")
            answer = {"id": "mine", "result": {"role": "assistant", "model": "m"}}
            assert (await client.say(answer, session)).status == 202
            last = json.loads((await anext(events)).partition(b"data: ")[2])
            assert last["id"] == 5
            assert json.loads(last["result"]["content"][0]["text"])["result"] == answer["result"]


async def test_what_a_server_says_of_its_own_accord_is_heard_where_a_client_listens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with bridge(tmp_path, program()) as client:
        session = (await client.initialize()).session
        async with await client.http.send(client.request(b"GET", b"", session)) as listening:
            waiting = soon(Client(client.target).legacy("wait", session))
            await until(lambda: "waiting" in caplog.text)
            assert len((await client.legacy("note", session)).messages) == 1
            assert b'"method": "notifications/message"' in await anext(aiter(listening))
            await client.legacy("go", session)
            await waiting


# -- sessions that share a process --------------------------------------------------------------------------


async def test_sessions_can_share_a_process(tmp_path: Path) -> None:
    async with bridge(tmp_path, program(processes=SHARED)) as client:
        first, second = await client.initialize("a"), await client.initialize(2)
        assert (first.last["id"], second.last["id"]) == ("a", 2)
        assert first.session != second.session
        pids = {(await client.legacy("pid", said.session)).text for said in (first, second)}
        assert len(pids) == 1
        assert (await client.send(b"DELETE", session=first.session)).status == 200
        assert (await client.legacy("hi", second.session)).text == "hi"


async def test_a_shared_process_has_no_client_to_ask(tmp_path: Path) -> None:
    async with bridge(tmp_path, program(processes=SHARED)) as client:
        session = (await client.initialize()).session
        said = await client.legacy("ask", session)
        assert len(said.messages) == 1
        assert json.loads(said.text)["error"]["code"] == -32601
        answer = {"id": "mine", "result": {}}
        assert (await client.say(answer, session)).status == 202  # and is not handed over
        assert (await client.send(b"GET", session=session)).status == 405


# -- what goes wrong ----------------------------------------------------------------------------------------


async def test_a_process_that_ends_answers_nobody_and_is_started_again(tmp_path: Path) -> None:
    async with bridge(tmp_path, program()) as client:
        pid = (await client.modern("pid")).text
        said = await client.modern("crash", 3)
        assert (said.status, said.reason, said.last["id"]) == (503, "stdio.ended", 3)
        assert (await client.modern("pid")).text != pid


async def test_a_session_ends_with_its_process(tmp_path: Path) -> None:
    async with bridge(tmp_path, program()) as client:
        session = (await client.initialize()).session
        assert (await client.legacy("crash", session)).reason == "stdio.ended"
        assert (await client.legacy("hi", session)).status == 404
        assert (await client.initialize()).status == 200


async def test_sessions_end_with_the_process_that_they_share(tmp_path: Path) -> None:
    async with bridge(tmp_path, program(processes=SHARED)) as client:
        session = (await client.initialize()).session
        assert (await client.legacy("crash", session)).reason == "stdio.ended"
        assert (await client.legacy("hi", session)).status == 404
        assert (await client.legacy("hi", (await client.initialize()).session)).text == "hi"


async def test_a_command_that_is_not_there_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with bridge(tmp_path, Program(("no-such-command",))) as client:
        said = await client.modern("hi")
        assert (said.status, said.reason) == (503, "stdio.not_started")
        assert "cannot be started: no-such-command: No such file or directory" in caplog.text
        assert (await client.initialize()).reason == "stdio.not_started"


async def test_what_is_no_message_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with bridge(tmp_path, program()) as client:
        assert (await client.modern("chatter")).text == "chatter"
    assert "22 bytes that are no message: json.malformed" in caplog.text


async def test_an_answer_that_two_could_read_differently_is_none(tmp_path: Path) -> None:
    async with bridge(tmp_path, program()) as client:
        said = await client.modern("garbled")
        assert (said.status, said.reason if "data" in said.last["error"] else None) == (502, None)
        assert (await client.modern("hi")).text == "hi"


async def test_a_stream_whose_process_dies_does_not_look_whole(tmp_path: Path) -> None:
    async with bridge(tmp_path, program()) as client:
        session = (await client.initialize()).session
        async with await client.http.send(client.request(b"GET", b"", session)) as listening:
            await client.legacy("crash", session)
            with pytest.raises(Exception, match=r"upstream\.broken"):
                await anext(aiter(listening))


async def test_the_path_is_the_only_one(tmp_path: Path) -> None:
    async with bridge(tmp_path, program()) as client:
        asked = Request(b"POST", b"/mcp", ((b"host", b"x"),), encoded(initialize()))
        async with await client.http.send(asked) as response:
            assert response.head.status == 404


@pytest.mark.parametrize(("body", "status"), [(b"[]", 400), (b"{", 400), (b'{"a":1,"a":2}', 400)])
async def test_what_is_no_message_is_refused(tmp_path: Path, body: bytes, status: int) -> None:
    async with bridge(tmp_path, program()) as client:
        assert (await client.send(b"POST", body)).status == status
        assert (await client.send(b"PUT", body)).status == 405
