"""The demo judges itself by what its client saw and what the audit log says, and can find itself wanting."""

from spiffe_mcp.dev.drive import ATTEMPTS, ERAS, LISTED, NOT_LISTED, Outcome, Seen, Step, judge
from spiffe_mcp.strict_json import JsonObject


def seen() -> list[Seen]:
    """What a client sees when all is well."""
    sights = []
    for era in ERAS:
        sights += [Seen(era, name, "listed", ("listed", "")) for name in LISTED]
        sights += [Seen(era, name, "not listed", ("not listed", why)) for name, why in NOT_LISTED.items()]
        for attempt in ATTEMPTS:
            outcome: Outcome = "refused" if attempt.reason else "called"
            sights.append(Seen(era, attempt.tool, outcome, (outcome, attempt.reason)))
    return sights


def recorded() -> list[JsonObject]:
    """What the log says when all is well."""
    records: list[JsonObject] = []
    for _ in ERAS:
        records.append({"action": "initialize"})
        records.append({"action": "tools/list", "withheld": dict(NOT_LISTED)})
        records += [{"action": "tools/call", "tool": a.tool, "reason": a.reason} for a in ATTEMPTS]
    return records


def unexpected(steps: list[Step]) -> list[tuple[str, str, str, str]]:
    return [(step.era, step.tool, step.outcome, step.reason) for step in steps if not step.expected]


def test_a_run_that_went_well_is_found_to_have_gone_well() -> None:
    steps = judge(seen(), recorded())
    assert len(steps) == len(seen())
    assert unexpected(steps) == []


def test_a_call_that_should_have_been_refused_is_found() -> None:
    sights = seen()
    place = next(i for i, sight in enumerate(sights) if sight.expected == ("refused", "policy.denied"))
    sights[place] = Seen(sights[place].era, sights[place].tool, "called", sights[place].expected)
    assert unexpected(judge(sights, recorded())) == [("modern", "approve_payment", "called", "policy.denied")]


def test_a_refusal_for_another_reason_is_found() -> None:
    records = recorded()
    record = next(record for record in reversed(records) if record.get("tool") == "export_ledger")
    record["reason"] = "policy.denied"
    assert unexpected(judge(seen(), records)) == [("legacy", "export_ledger", "refused", "policy.denied")]


def test_a_tool_that_is_listed_and_should_not_be_is_found() -> None:
    sights = [*seen(), Seen("legacy", "drop_table", "listed", ("not listed", ""))]
    assert unexpected(judge(sights, recorded())) == [("legacy", "drop_table", "listed", "")]


def test_a_list_without_its_reasons_is_found() -> None:
    records = recorded()
    del records[1]["withheld"]
    found = unexpected(judge(seen(), records))
    assert {tool for _, tool, _, _ in found} == set(NOT_LISTED)


def test_a_call_without_a_record_is_found() -> None:
    records = [record for record in recorded() if record.get("tool") != "no_such_tool"]
    assert {reason for _, _, _, reason in unexpected(judge(seen(), records))} == {"no record"}
