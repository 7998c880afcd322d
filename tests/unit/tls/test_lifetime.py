"""A connection ends with the first of the two SVIDs, or by its own limit, and is drained before that."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiffe_mcp.tls import Drain, Lifetime

OPENED = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def lifetime(**changes: Any) -> Lifetime:
    usual: dict[str, Any] = {
        "own_not_after": OPENED + 3 * HOUR,
        "peer_not_after": OPENED + 2 * HOUR,
        "longest": HOUR,
        "drain": Drain.SERVER,
        "jitter": 0.0,
    }
    return Lifetime.of(OPENED, **(usual | changes))


FIRST = {
    "the limit": ({}, HOUR),
    "our SVID": ({"own_not_after": OPENED + 5 * MINUTE}, 5 * MINUTE),
    "the peer's SVID": ({"peer_not_after": OPENED + 4 * MINUTE}, 4 * MINUTE),
}


@pytest.mark.parametrize(("changes", "life"), FIRST.values(), ids=FIRST)
def test_the_first_of_the_three_ends_it(changes: dict[str, Any], life: timedelta) -> None:
    assert lifetime(**changes).end == OPENED + life


def test_what_has_expired_already_ends_at_once() -> None:
    gone = lifetime(peer_not_after=OPENED - MINUTE)
    assert gone == Lifetime(OPENED, OPENED)


@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_it_is_drained_for_the_last_part_of_its_life(jitter: float) -> None:
    of_an_hour = {Drain.CLIENT: (12, 18), Drain.SERVER: (6, 9)}
    for drain, minutes in of_an_hour.items():
        drained = lifetime(drain=drain, jitter=jitter)
        assert drained.end - drained.drain_at == minutes[jitter == 1.0] * MINUTE


LIVES = st.timedeltas(timedelta(seconds=1), timedelta(days=1))
SHARE = st.floats(0, 1)


@given(own=LIVES, peer=LIVES, longest=LIVES, jitters=st.tuples(SHARE, SHARE))
def test_the_client_stops_before_its_server_does(
    own: timedelta, peer: timedelta, longest: timedelta, jitters: tuple[float, float]
) -> None:
    """Both ends see the same SVIDs. A server that closed first could cross a request on its way to it."""
    client = lifetime(
        own_not_after=OPENED + own,
        peer_not_after=OPENED + peer,
        longest=longest,
        drain=Drain.CLIENT,
        jitter=jitters[0],
    )
    server = lifetime(
        own_not_after=OPENED + peer,
        peer_not_after=OPENED + own,
        longest=longest,
        drain=Drain.SERVER,
        jitter=jitters[1],
    )
    assert OPENED <= client.drain_at < server.drain_at < server.end == client.end
