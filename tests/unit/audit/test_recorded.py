"""Exactly one record, whatever ends the exchange."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from spiffe_mcp.audit.record import AuditRecord, Outcome, Ruling, Side, Verdict
from spiffe_mcp.audit.recorded import Draft, recorded
from spiffe_mcp.errors import Reason, Refused


@dataclass
class Memory:
    """An audit log in memory, which may have no room on entry or on exit."""

    has_room: bool = True
    fails_on_exit: bool = False
    records: list[AuditRecord] = field(default_factory=list)

    def ensure_writable(self) -> None:
        """As asked for."""
        if not self.has_room:
            raise Refused(Reason.AUDIT_UNAVAILABLE)

    def append(self, record: AuditRecord) -> None:
        """As asked for."""
        if self.fails_on_exit:
            raise Refused(Reason.AUDIT_UNAVAILABLE)
        self.records.append(record)


def draft() -> Draft:
    """An exchange that has just begun."""
    return Draft(time=datetime(2026, 11, 23, tzinfo=UTC), exchange="e1", side=Side.EGRESS)


def run(log: Memory, end: Exception | None) -> None:
    """An exchange that was permitted, went through, and then ended as told."""
    with recorded(log, draft()) as exchange:
        exchange.ruling = Ruling(Verdict.ALLOW, rule="r")
        exchange.complete()
        if end is not None:
            raise end


def test_a_completed_exchange_leaves_one_record_with_all_it_learned() -> None:
    """Written on leaving, not before."""
    log = Memory()
    with recorded(log, draft()) as exchange:
        exchange.txn = "t1"
        exchange.ruling = Ruling(Verdict.ALLOW, rule="r")
        exchange.complete()
        assert log.records == []
    (record,) = log.records
    assert (record.txn, record.ruling.rule, record.outcome) == ("t1", "r", Outcome.COMPLETED)


def test_a_refusal_that_passes_through_is_recorded_with_its_code() -> None:
    """And what policy had said before stays in the record."""
    log = Memory()
    with pytest.raises(Refused):
        run(log, Refused(Reason.POLICY_DENIED, "why"))
    (record,) = log.records
    assert record.ruling == Ruling(Verdict.REFUSE, reason="policy.denied", rule="r")
    assert (record.outcome, record.error) == (Outcome.REFUSED, "why")


def test_a_refusal_that_was_answered_inside_is_recorded_too() -> None:
    """Whoever handles it tells the draft."""
    log = Memory()
    with recorded(log, draft()) as exchange:
        exchange.refuse(Refused(Reason.JSON_TOO_DEEP))
    (record,) = log.records
    assert (record.outcome, record.ruling.reason) == (Outcome.REFUSED, "json.too_deep")


def test_an_exception_is_an_error_recorded_by_its_type() -> None:
    """Its text may hold anything."""
    log = Memory()
    with pytest.raises(KeyError):
        run(log, KeyError("token-abc"))
    (record,) = log.records
    assert (record.outcome, record.error) == (Outcome.ERROR, "KeyError")


def test_an_exchange_that_says_nothing_is_an_error() -> None:
    """Not a success by default."""
    log = Memory()
    with recorded(log, draft()):
        pass
    (record,) = log.records
    assert (record.outcome, record.error) == (Outcome.ERROR, "ended without an outcome")
    assert record.ruling.verdict is Verdict.REFUSE


@pytest.mark.parametrize("fails_on_exit", [False, True])
async def test_a_cancelled_exchange_is_recorded_and_stays_cancelled(fails_on_exit: bool) -> None:
    """Even if its record cannot be written: a refusal in its place would swallow the cancellation."""
    log = Memory(fails_on_exit=fails_on_exit)
    running = asyncio.Event()

    async def exchange() -> None:
        with recorded(log, draft()):
            running.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(exchange())
        await running.wait()
        task.cancel()
    assert task.cancelled()
    assert [record.outcome for record in log.records] == ([] if fails_on_exit else [Outcome.CANCELLED])


@pytest.mark.parametrize("completes", [False, True])
async def test_whoever_leaves_may_mean_something_else_by_it(completes: bool) -> None:
    log, running = Memory(), asyncio.Event()

    async def exchange() -> None:
        with recorded(log, draft()) as record:
            record.abandoned = Outcome.DISCONNECTED
            if completes:
                record.complete()
            running.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(exchange())
        await running.wait()
        task.cancel()
    expected = Outcome.COMPLETED if completes else Outcome.DISCONNECTED
    assert [record.outcome for record in log.records] == [expected]


def test_nothing_begins_that_could_not_be_recorded() -> None:
    """Fail closed: the body does not run."""
    log, ran = Memory(has_room=False), []
    with pytest.raises(Refused) as caught, recorded(log, draft()):
        ran.append(True)
    assert caught.value.reason is Reason.AUDIT_UNAVAILABLE
    assert not ran


@pytest.mark.parametrize("inner", [None, Refused(Reason.POLICY_DENIED), KeyError()])
def test_an_exchange_whose_record_cannot_be_written_is_refused(inner: Exception | None) -> None:
    """Whatever it came to: its answer does not go on."""
    with pytest.raises(Refused) as caught:
        run(Memory(fails_on_exit=True), inner)
    assert caught.value.reason is Reason.AUDIT_UNAVAILABLE
