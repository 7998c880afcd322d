"""The limit of descriptors is raised as far as it helps, and what stays missing is taken on less of."""

import logging
import resource

import pytest

from spiffe_mcp.agent.descriptors import capacity, raised
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.capacity import Capacity

Limit = tuple[int, int]


class Process:
    """A process with another limit than this one."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit

    def getrlimit(self, which: int) -> Limit:
        assert which == resource.RLIMIT_NOFILE
        return self.limit

    def setrlimit(self, which: int, limit: Limit) -> None:
        assert which == resource.RLIMIT_NOFILE
        assert limit[0] >= self.limit[0], "it is never lowered"
        assert limit[1] == self.limit[1], "the hard limit is the system's"
        self.limit = limit


def limited(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> Process:
    process = Process((soft, hard))
    monkeypatch.setattr(resource, "getrlimit", process.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", process.setrlimit)
    return process


INFINITE = resource.RLIM_INFINITY
RAISED = {
    "enough already": ((5000, 5000), 2000, 5000, (5000, 5000)),
    "raised to what is wanted": ((1024, 5000), 2000, 2000, (2000, 5000)),
    "raised as far as it goes": ((1024, 1500), 2000, 1500, (1500, 1500)),
    "no hard limit": ((1024, INFINITE), 2000, 2000, (2000, INFINITE)),
    "no limit": ((INFINITE, INFINITE), 2000, 2000, (INFINITE, INFINITE)),
}


@pytest.mark.parametrize(("before", "wanted", "there", "after"), RAISED.values(), ids=RAISED)
def test_the_limit_is_raised(
    before: Limit, wanted: int, there: int, after: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = limited(monkeypatch, *before)
    assert (raised(wanted), process.limit) == (there, after)


def test_with_enough_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limited(monkeypatch, 1024, 100_000)
    assert capacity(listeners=1, pools=1) == Capacity()
    assert caplog.text == ""


def test_with_less_it_is_said_what_that_means(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limited(monkeypatch, 512, 512)
    with caplog.at_level(logging.WARNING):
        found = capacity(listeners=1, pools=1)
    assert found.connections < Capacity().connections
    assert (
        f"512 descriptors (ulimit -n), {Capacity().descriptors(listeners=1, pools=1)} are wanted"
        in caplog.text
    )


def test_with_too_few_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 64, 64)
    with pytest.raises(Refused) as refused:
        capacity(listeners=1, pools=1)
    assert refused.value.reason is Reason.DESCRIPTORS_TOO_FEW
