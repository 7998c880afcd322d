"""Every status is decided on, and what nobody thought of drops the keys."""

import grpc
import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity.sources.events import Denied, Disconnected, Ending, Rejected
from spiffe_mcp.identity.sources.status import ending_for_a_workload

OUTAGE = {"OK", "UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}
REFUSAL = {"PERMISSION_DENIED", "UNAUTHENTICATED"}


def expected(code: grpc.StatusCode) -> Ending:
    if code.name in OUTAGE:
        return Disconnected(code.name, "'x'")
    if code.name == "INVALID_ARGUMENT":
        return Rejected(Reason.BROKER_REJECTED, "'x'")
    reason = Reason.BROKER_DENIED if code.name in REFUSAL else Reason.WORKLOAD_NOT_FOUND
    return Denied(reason, f"{code.name}: 'x'")


@pytest.mark.parametrize("code", [*grpc.StatusCode], ids=lambda code: code.name)
def test_a_status_means_an_outage_a_refusal_or_that_the_workload_is_gone(code: grpc.StatusCode) -> None:
    denied, rejected = Reason.BROKER_DENIED, Reason.BROKER_REJECTED
    assert ending_for_a_workload(code, "'x'", denied=denied, rejected=rejected) == expected(code)
