"""A refusal says its code first; its detail is for who runs the mesh. Of the codes: tests/architecture."""

from http import HTTPStatus

import pytest

from spiffe_mcp.errors import Reason, Refused


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (Refused(Reason.TLS_BUSY), "tls.busy"),
        (Refused(Reason.TLS_BUSY, "256 handshakes"), "tls.busy: 256 handshakes"),
    ],
)
def test_it_is_said_with_its_code_first(refused: Refused, said: str) -> None:
    assert str(refused) == said


def test_a_reason_has_a_code_and_a_status() -> None:
    assert (Reason.TLS_BUSY.code, Reason.TLS_BUSY.status) == ("tls.busy", HTTPStatus.SERVICE_UNAVAILABLE)


def test_what_it_was_refused_for_can_be_read_off() -> None:
    refused = Refused(Reason.TLS_BUSY, "why")
    assert (refused.reason, refused.detail, refused.args) == (
        Reason.TLS_BUSY,
        "why",
        (Reason.TLS_BUSY, "why"),
    )
