"""Two runs side by side: what differs is said, and what was expected to and does not."""

from collections import Counter

from scripts.conformance_suite.comparison import Difference, Row, differences, rows, stale, unexpected

DIRECT = {
    "tools-list": Counter({("listed", "SUCCESS"): 2, ("paged", "FAILURE"): 1}),
    "ping": Counter({("ping", "SUCCESS"): 1}),
}
DIFFERENCE = Difference("ping", "ping", "SUCCESS x1", "FAILURE x1")


def test_equal_runs_differ_in_nothing() -> None:
    assert differences(DIRECT, DIRECT) == []


def test_a_check_that_comes_out_otherwise_is_named() -> None:
    assert differences(DIRECT, DIRECT | {"ping": Counter({("ping", "FAILURE"): 1})}) == [DIFFERENCE]


def test_so_is_one_that_is_made_more_often() -> None:
    meshed = DIRECT | {"ping": Counter({("ping", "SUCCESS"): 2})}
    assert differences(DIRECT, meshed) == [Difference("ping", "ping", "SUCCESS x1", "SUCCESS x2")]


def test_a_scenario_that_was_not_run_is_a_difference() -> None:
    alone = {"ping": DIRECT["ping"]}
    assert [(one.check, one.direct, one.meshed) for one in differences(alone, DIRECT)] == [
        ("listed", "-", "SUCCESS x2"),
        ("paged", "-", "FAILURE x1"),
    ]
    assert [(one.check, one.meshed) for one in differences(DIRECT, alone)] == [
        ("listed", "-"),
        ("paged", "-"),
    ]


def test_each_scenario_has_a_row_of_what_passed_and_failed() -> None:
    assert rows(DIRECT, {}) == [Row("ping", (1, 0), (0, 0)), Row("tools-list", (2, 1), (0, 0))]


def test_a_reason_is_for_one_check_of_one_scenario() -> None:
    assert unexpected([DIFFERENCE], {"ping:ping": "because"}) == []
    assert unexpected([DIFFERENCE], {"ping:pong": "because", "pong:ping": "because"}) == [DIFFERENCE]


def test_a_reason_for_what_does_not_differ_is_stale() -> None:
    assert stale([DIFFERENCE], {"ping:ping": "because", "ping:pong": "once"}) == ["ping:pong"]
