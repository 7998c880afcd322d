"""A finding can be shown to a terminal and read by a machine, whatever others put into it."""

import pytest

from spiffe_mcp.doctor.finding import MAX_TEXT, Check, Finding, Severity, error, ok, warning, worst


def test_the_worst_finding_is_the_exit_code_and_2_stays_for_wrong_usage() -> None:
    fine, late, bad = ok(Check.SVID, "a"), warning(Check.SVID, "b", "c"), error(Check.SVID, "d", "e")
    assert worst([]).value == 0
    assert worst([fine]).value == 0
    assert worst([late, fine]).value == 1
    assert worst([fine, bad, late]).value == 3
    assert 2 not in {severity.value for severity in Severity}


def test_what_others_said_does_not_speak_to_the_terminal() -> None:
    found = error(Check.PEER, "said \x1b[2Jnothing\r\n", "\u202e")
    assert found.message == "said \\x1b[2Jnothing\\r\\n"
    assert found.advice == "\\u202e"


def test_what_others_said_has_an_end() -> None:
    assert len(error(Check.PEER, "x" * 100_000, "").message) == MAX_TEXT + len("...")


def test_machines_read_names_that_stay() -> None:
    assert warning(Check.SVID, "late", "look").document() == {
        "check": "svid",
        "severity": "warning",
        "message": "late",
        "advice": "look",
    }
    assert {check.value for check in Check} == {
        *("configuration", "descriptors", "audit", "socket", "workload_api"),
        *("svid", "clock", "bundle", "peer", "agent"),
    }


def test_nobody_changes_a_finding() -> None:
    with pytest.raises(AttributeError):
        ok(Check.SVID, "fine").message = "bad"  # type: ignore[misc]  # what is refused


def test_a_finding_without_advice_is_one() -> None:
    assert Finding(Check.SVID, Severity.OK, "fine").advice == ""
