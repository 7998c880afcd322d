"""A session is known while it is used, while its process runs, and while there is room."""

from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest

from spiffe_mcp.errors import Refused
from spiffe_mcp.mesh.stdio.server import Server
from spiffe_mcp.mesh.stdio.sessions import IDLE, Session, Sessions


class FakeServer:
    def __init__(self) -> None:
        self.is_busy = False
        self.process = SimpleNamespace(wanted=True, end=self._end)

    def _end(self) -> None:
        self.process.wanted = False


def sessions(most: int = 2) -> Sessions:
    numbers = count(1)
    return Sessions(lambda: b"%d" % next(numbers), most)


def opened(known: Sessions, now: float = 0.0, *, owns: bool = True) -> tuple[Session, Any]:
    server = FakeServer()
    return known.open(cast("Server", server), now, owns=owns), server


def unknown(known: Sessions, identifier: bytes | None, now: float = 0.0) -> bool:
    try:
        known.find(identifier, now)
    except Refused as refused:
        return refused.reason.code == "mesh.session_unknown"
    return False


def test_a_session_is_found_by_its_id_alone() -> None:
    known = sessions()
    session, _ = opened(known)
    assert known.find(session.identifier, 0.0) is session
    assert all(unknown(known, other) for other in (None, b"", b"2", b"11"))


@pytest.mark.parametrize("owns", [True, False])
def test_to_end_it_ends_the_process_that_was_for_it_alone(owns: bool) -> None:
    known = sessions()
    session, server = opened(known, owns=owns)
    known.end(session)
    assert unknown(known, session.identifier)
    assert server.process.wanted is not owns


def test_it_ends_with_its_process() -> None:
    known = sessions()
    session, server = opened(known)
    server.process.wanted = False
    assert unknown(known, session.identifier)
    assert len(known) == 0


def test_who_is_idle_too_long_is_ended_unless_it_works() -> None:
    known = sessions(3)
    idle, _ = opened(known)
    used, _ = opened(known)
    busy, server = opened(known)
    server.is_busy = True
    known.find(used.identifier, 1.0)
    known.expire(IDLE)
    assert unknown(known, idle.identifier, IDLE)
    assert not unknown(known, used.identifier, IDLE)
    assert not unknown(known, busy.identifier, IDLE)


def test_room_is_made_by_whoever_was_used_least_recently_and_is_idle() -> None:
    known = sessions(3)
    (busy, server), (first, _), (second, _) = opened(known), opened(known), opened(known)
    server.is_busy = True
    known.find(first.identifier, 1.0)
    opened(known, 2.0)
    assert unknown(known, second.identifier)
    assert not unknown(known, busy.identifier)
    assert not unknown(known, first.identifier)
