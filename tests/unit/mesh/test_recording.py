"""What records say of handshakes that were refused, and of addresses; of exchanges, see tests/exchange."""

from datetime import timedelta
from typing import Any

import pytest

from spiffe_mcp.audit import Kind, Side
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest import compare
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.recording import (
    HANDSHAKE_RECORDS,
    HandshakeRecords,
    address,
    draft,
    note_passed_over,
    note_withheld,
)
from spiffe_mcp.strict_json import JsonValue
from tests.exchange.playbook import MANIFEST, NOW, Memorised
from tests.fakes import publisher

REFUSAL = Refused(Reason.CHAIN_UNTRUSTED, "self-signed certificate")
FLOOD = HANDSHAKE_RECORDS + 5


def after(seconds: float) -> Any:
    return NOW + timedelta(seconds=seconds)


def test_a_draft_is_of_one_exchange_with_a_name_of_its_own() -> None:
    first, second = draft(Side.EGRESS, NOW), draft(Side.EGRESS, NOW)
    assert (first.time, first.side, first.kind) == (NOW, Side.EGRESS, Kind.EXCHANGE)
    assert first.exchange != second.exchange


@pytest.mark.parametrize(
    ("peername", "text"),
    [
        (("192.0.2.7", 4711), "192.0.2.7:4711"),
        (("2001:db8::1", 4711, 0, 0), "[2001:db8::1]:4711"),
        ("", ""),
        (None, ""),
        (("192.0.2.7",), ""),
    ],
)
def test_an_address_is_text_and_a_unix_socket_has_none(peername: object, text: str) -> None:
    assert address(peername) == text


def test_a_refused_handshake_is_a_refused_attempt_to_authenticate() -> None:
    log = Memorised()
    HandshakeRecords(log).refused(("192.0.2.7", 4711), REFUSAL, NOW)
    assert log.last == {
        "time": "2026-11-23T00:00:00.000Z",
        "exchange": log.last["exchange"],
        "kind": "authentication",
        "side": "ingress",
        "peer_address": "192.0.2.7:4711",
        "decision": "refuse",
        "reason": "identity.chain_untrusted",
        "outcome": "refused",
        "error": "self-signed certificate",
    }


def test_a_flood_is_bounded_and_what_was_left_out_is_counted_once() -> None:
    log = Memorised()
    records = HandshakeRecords(log)
    for _ in range(FLOOD):
        records.refused(None, REFUSAL, NOW)
    assert len(log.records) == HANDSHAKE_RECORDS
    records.refused(None, REFUSAL, after(1))
    assert log.last["error"] == "self-signed certificate; 5 more were not recorded"
    records.refused(None, REFUSAL, after(1))
    assert log.last["error"] == "self-signed certificate"


def test_a_second_has_to_be_over_before_more_are_recorded() -> None:
    log = Memorised()
    records = HandshakeRecords(log)
    for moment in (0, *(0.999,) * FLOOD):
        records.refused(None, REFUSAL, after(moment))
    assert len(log.records) == HANDSHAKE_RECORDS


def test_a_clock_that_is_set_back_does_not_silence_the_records() -> None:
    log = Memorised()
    records = HandshakeRecords(log)
    for moment in (0,) * FLOOD:
        records.refused(None, REFUSAL, after(moment))
    records.refused(None, REFUSAL, after(-3600))
    assert len(log.records) == HANDSHAKE_RECORDS + 1


def test_a_log_that_cannot_be_written_says_so() -> None:
    class Full(Memorised):
        """No room."""

        def ensure_writable(self) -> None:
            raise Refused(Reason.AUDIT_UNAVAILABLE)

    with pytest.raises(Refused) as caught:
        HandshakeRecords(Full()).refused(None, REFUSAL, NOW)
    assert caught.value.reason is Reason.AUDIT_UNAVAILABLE


def test_a_list_that_was_cut_is_recorded_with_what_was_withheld_and_why() -> None:
    forecast, alert = publisher.tools()
    live: list[JsonValue] = [forecast, {**alert, "description": "!"}, {"name": "new", "inputSchema": {}}]
    record = draft(Side.INGRESS, NOW)
    note_withheld(record, compare(MANIFEST.manifest, live, protocol_version=""))
    assert record.withheld == {"set_alert": "manifest.tool_changed", "new": "manifest.tool_unsigned"}


def test_addresses_that_were_passed_over_are_recorded_with_why() -> None:
    record = draft(Side.EGRESS, NOW)
    note_passed_over(record, {Address("::1", 8443): Reason.ID_NOT_AUTHORIZED})
    assert record.passed_over == {"[::1]:8443": "identity.id_not_authorized"}
