"""A stage that is taken out is gone inside, and back afterwards; an unknown one is an error."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.benchmarks import stages
from spiffe_mcp.audit import AuditLog, Draft, Fsync, Side, recorded
from spiffe_mcp.context import ReplayGuard, mint, verify
from spiffe_mcp.errors import Refused
from spiffe_mcp.manifest import RiskLevel, reviewed
from spiffe_mcp.mesh import egress, ingress, ingress_listener
from spiffe_mcp.mesh.answer import filter_for
from spiffe_mcp.mesh.upstream import Upstream
from spiffe_mcp.policy.rego import RegoPolicy
from spiffe_mcp.strict_json import JsonObject
from tests.exchange.playbook import NOW

PATCHED: tuple[tuple[str, Callable[[], object]], ...] = (
    ("context", lambda: egress.__dict__["mint"]),
    ("context", lambda: ingress.__dict__["verify"]),
    ("context", lambda: ReplayGuard.check),
    ("manifest", lambda: Upstream.live),
    ("policy", lambda: RegoPolicy.decide),
    ("filter", lambda: ingress_listener.__dict__["filter_for"]),
    ("audit", lambda: AuditLog.append),
)


@pytest.mark.parametrize(("stage", "found"), PATCHED)
def test_a_stage_is_taken_out_for_the_block_only(stage: str, found: Callable[[], object]) -> None:
    whole = found()
    with stages.without([stage]):
        assert found() is not whole
    assert found() is whole


def test_the_product_has_all_of_them_when_nothing_is_taken_out() -> None:
    with stages.without([]):
        assert (egress.__dict__["mint"], ingress.__dict__["verify"]) == (mint, verify)
        assert ingress_listener.__dict__["filter_for"] is filter_for


def test_without_audit_nothing_is_written(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "log", fsync=Fsync.NEVER) as log:
        with stages.without(["audit"]), recorded(log, Draft(NOW, "1", Side.EGRESS)):
            pass
        assert (tmp_path / "log").read_bytes() == b""
        with recorded(log, Draft(NOW, "2", Side.EGRESS)):
            pass
        assert len((tmp_path / "log").read_bytes().splitlines()) == 1


def test_without_the_schema_no_argument_is_looked_at() -> None:
    schema: JsonObject = {"type": "object", "required": ["text"]}
    tool = reviewed({"name": "echo", "inputSchema": schema}, RiskLevel.LOW)
    with stages.without(["schema"]):
        tool.validate_arguments({})
    with pytest.raises(Refused):
        tool.validate_arguments({})


def test_what_is_asked_once_is_answered_alike_ever_after() -> None:
    numbers = iter([1, 2])
    answer = stages.once(lambda: next(numbers))
    assert (answer(), answer(), next(numbers)) == (1, 1, 2)


def test_a_stage_that_does_not_exist_cannot_be_taken_out() -> None:
    with pytest.raises(KeyError, match="polocy"), stages.without(["polocy"]):
        pass
