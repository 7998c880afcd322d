"""The limit of descriptors is raised as far as it helps, and what stays missing is taken on less of."""

import logging
import resource
from pathlib import Path

import pytest

from spiffe_mcp.agent.config import load
from spiffe_mcp.agent.descriptors import BUSY_WORKLOADS, capacity, raised, shape_of
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.capacity import Capacity, Shape

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
    assert capacity(Shape(1, 1)) == Capacity()
    assert caplog.text == ""


def test_with_less_it_is_said_what_that_means(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limited(monkeypatch, 512, 512)
    with caplog.at_level(logging.WARNING):
        found = capacity(Shape(1, 1))
    assert found.connections < Capacity().connections
    assert f"512 descriptors (ulimit -n), {Capacity().descriptors(Shape(1, 1))} are wanted" in caplog.text


def test_with_too_few_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 64, 64)
    with pytest.raises(Refused) as refused:
        capacity(Shape(1, 1))
    assert refused.value.reason is Reason.DESCRIPTORS_TOO_FEW


SIDECAR = """\
identity: {socket: unix:///a.sock}
egress:
  listen: 127.0.0.1:0
  user: {sub: alice, sub_iss: https://idp.test}
  servers:
    - {name: one, spiffe_id: spiffe://a.test/one, address: one.test:1}
    - {name: two, spiffe_id: spiffe://a.test/two, address: two.test:2}
audit: {file: audit.jsonl}
"""
NODE = SIDECAR.replace(
    "{socket: unix:///a.sock}",
    "{source: delegated, socket: unix:///a.sock, delegated: {socket: unix:///b.sock}}",
).replace("127.0.0.1:0", "unix:/c.sock")


@pytest.mark.parametrize(
    ("text", "shape"), [(SIDECAR, Shape(1, 2)), (NODE, Shape(1, 2 * BUSY_WORKLOADS, node=True))]
)
def test_what_an_agent_consists_of_is_read_off_its_configuration(
    tmp_path: Path, text: str, shape: Shape
) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(text)
    assert shape_of(load(file)) == shape
