"""A record says what happened, and nothing that has to stay secret."""

from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import orjson
import pytest

from spiffe_mcp.audit.record import (
    MAX_ID,
    MAX_ITEMS,
    MAX_TEXT,
    AuditRecord,
    Caller,
    Kind,
    Outcome,
    Parameters,
    ReloadRecord,
    Ruling,
    Side,
    Target,
    Verdict,
)
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import JsonObject

NOW = datetime(2026, 11, 23, 6, 30, 0, 123456, tzinfo=UTC)


def bare(caller: Caller | None = None, parameters: Parameters | None = None, error: str = "") -> JsonObject:
    """The document of a record of which little is known."""
    return AuditRecord(
        time=NOW,
        exchange="e1",
        side=Side.INGRESS,
        outcome=Outcome.ERROR,
        caller=caller or Caller(),
        parameters=parameters,
        error=error,
    ).document()


def test_the_whole_record_is_as_documented() -> None:
    """A change of this test is a change of the format."""
    record = AuditRecord(
        time=NOW,
        exchange="e1",
        side=Side.INGRESS,
        kind=Kind.EXCHANGE,
        outcome=Outcome.COMPLETED,
        txn="t1",
        caller=Caller(
            "10.0.0.1:443",
            "spiffe://a.test/node",
            "spiffe://a.test/bot",
            ("spiffe://a.test/front",),
            "alice",
            "iss",
        ),
        target=Target("tools/call", "spiffe://a.test/crm", "add", "sha256:00", 3),
        parameters=Parameters.redacted({"to": "bob", "rows": 3}, b"{}", {"rows"}),
        ruling=Ruling(Verdict.ALLOW, "", "analysts", "7", "sha256:11", "may read", ("manager",)),
        durations_ms={"upstream": 1.23456},
    )
    assert record.document() == {
        "time": "2026-11-23T06:30:00.123Z",
        "exchange": "e1",
        "kind": "exchange",
        "side": "ingress",
        "txn": "t1",
        "peer_address": "10.0.0.1:443",
        "peer": "spiffe://a.test/node",
        "caller": "spiffe://a.test/bot",
        "chain": ["spiffe://a.test/front"],
        "user": "alice",
        "user_iss": "iss",
        "action": "tools/call",
        "server": "spiffe://a.test/crm",
        "tool": "add",
        "tool_digest": "sha256:00",
        "manifest_serial": 3,
        "parameters": {"to": "string", "rows": 3},
        "parameters_digest": f"sha256:{sha256(b'{}').hexdigest()}",
        "decision": "allow",
        "rule": "analysts",
        "policy_version": "7",
        "policy_digest": "sha256:11",
        "justification": "may read",
        "approvals": ["manager"],
        "outcome": "completed",
        "durations_ms": {"upstream": 1.235},
    }


def test_what_was_not_decided_was_refused() -> None:
    """The default of a record is not a success."""
    assert bare() == {
        "time": "2026-11-23T06:30:00.123Z",
        "exchange": "e1",
        "kind": "exchange",
        "side": "ingress",
        "decision": "refuse",
        "outcome": "error",
    }


def test_parameters_are_recorded_by_name_and_type() -> None:
    """No value is readable, at any depth; which bytes were sent can be proved."""
    values: JsonObject = {
        "a": "secret",
        "b": 17,
        "c": 1.5,
        "d": True,
        "e": None,
        "f": {"token": "secret"},
        "g": ["secret"],
    }
    parameters = Parameters.redacted(values, b"raw")
    assert parameters.shape == {
        "a": "string",
        "b": "number",
        "c": "number",
        "d": "boolean",
        "e": "null",
        "f": "object",
        "g": "array",
    }
    assert parameters.digest == f"sha256:{sha256(b'raw').hexdigest()}"


def test_shown_parameters_stand_in_clear_unless_they_are_containers() -> None:
    """A container may hold what nobody listed."""
    parameters = Parameters.redacted(
        {"a": "x", "b": None, "c": ["y"], "d": {"z": 1}}, b"", {"a", "b", "c", "d"}
    )
    assert parameters.shape == {"a": "x", "b": None, "c": "array", "d": "object"}


def test_long_texts_are_cut_with_a_mark_and_counted() -> None:
    """A caller cannot fill the disk with one name."""
    document = bare(error="x" * (MAX_TEXT + 5), caller=Caller(peer="p" * (MAX_ID + 1), user="u" * MAX_TEXT))
    assert document["error"] == "x" * MAX_TEXT + "...(+5)"
    assert document["peer"] == "p" * MAX_ID + "...(+1)"
    assert document["user"] == "u" * MAX_TEXT
    assert document["cut"] == 2


def test_many_items_are_cut_and_counted() -> None:
    """Neither with many of them."""
    many = Parameters({f"p{number}": "string" for number in range(MAX_ITEMS + 3)}, "")
    document = bare(parameters=many, caller=Caller(chain=("c",) * (MAX_ITEMS + 4)))
    assert len(orjson.loads(orjson.dumps(document["parameters"]))) == MAX_ITEMS
    assert document["chain"] == ["c"] * MAX_ITEMS
    assert document["cut"] == 7


@pytest.mark.parametrize(
    ("text", "written"),
    [("é\u2028😀", "é\u2028😀"), ("a\ud800b", "a?b"), ("nul\x00\n", "nul\x00\n")],
)
def test_texts_are_what_utf8_can_carry(text: str, written: str) -> None:
    """No text of a caller makes the record unwritable."""
    shown = Parameters.redacted({text: text}, b"", {text})
    document = bare(error=text, parameters=shown)
    assert document["error"] == written
    assert document["parameters"] == {written: written}
    assert orjson.loads(orjson.dumps(document)) == document


def test_integers_beyond_what_json_writers_hold_become_texts() -> None:
    """Their digits are kept."""
    shown = Parameters.redacted({"a": 2**70, "b": -(2**63)}, b"", {"a", "b"})
    assert bare(parameters=shown)["parameters"] == {"a": str(2**70), "b": str(-(2**63))}


def test_time_is_written_in_utc() -> None:
    """Records of all nodes sort."""
    there = NOW.astimezone(timezone(timedelta(hours=5)))
    record = AuditRecord(time=there, exchange="e", side=Side.EGRESS, outcome=Outcome.ERROR)
    assert record.document()["time"] == "2026-11-23T06:30:00.123Z"


def test_a_naive_time_is_a_programming_error() -> None:
    """It would not say when."""
    with pytest.raises(ValueError, match="not aware"):
        AuditRecord(time=NOW.replace(tzinfo=None), exchange="e", side=Side.EGRESS, outcome=Outcome.ERROR)


def test_a_reload_is_recorded_with_what_changed_and_why_it_was_refused() -> None:
    refused = Refused(Reason.POLICY_INVALID, "p.rego: line 1")
    record = ReloadRecord(NOW, {"/p.rego": "sha256:00", "/gone": ""}, refused)
    assert record.document() == {
        "time": "2026-11-23T06:30:00.123Z",
        "kind": "reload",
        "outcome": "refused",
        "reason": "policy.invalid",
        "error": "p.rego: line 1",
        "changed": {"/p.rego": "sha256:00", "/gone": ""},
    }
    applied = ReloadRecord(NOW, {})
    assert applied.document() == {
        "time": "2026-11-23T06:30:00.123Z",
        "kind": "reload",
        "outcome": "completed",
    }


def test_a_reload_of_very_many_files_says_how_many_are_left_out() -> None:
    document = ReloadRecord(NOW, {f"/{number}": "" for number in range(100)}).document()
    assert document["cut"] == 36
