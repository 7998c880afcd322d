"""What a gRPC status says of a workload whose SVID somebody else asks for. Pure.

Three outcomes: the other side is away, and what was last said stays in force; the request is wrong, and no
retry mends it; everything else is about this workload, whose keys are dropped. A status that is on no list
here is of the third kind: fail closed.
"""

from typing import Final

import grpc

from spiffe_mcp.errors import Reason
from spiffe_mcp.identity.sources.events import Denied, Disconnected, Ending, Rejected

_OUTAGES: Final = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    }
)
_REFUSALS: Final = frozenset({grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED})


def ending_for_a_workload(code: grpc.StatusCode, detail: str, *, denied: Reason, rejected: Reason) -> Ending:
    """The meaning of `code`; `denied` and `rejected` are this API's words for: not to you, not like that."""
    if code in _OUTAGES:
        return Disconnected(code.name, detail)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return Rejected(rejected, detail)
    return Denied(denied if code in _REFUSALS else Reason.WORKLOAD_NOT_FOUND, f"{code.name}: {detail}")
