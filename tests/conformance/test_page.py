"""The comparison in words."""

from collections import Counter

from scripts.conformance_suite.page import Run, page

PASSED, FAILED = Counter({("ping", "SUCCESS"): 1}), Counter({("ping", "FAILURE"): 1})
RUN = Run("server 2026-07-28", {"ping": PASSED}, {"ping": FAILED})


def test_totals_scenarios_and_what_differs_stand_on_the_page() -> None:
    written = page([RUN], {"server 2026-07-28": {"ping:ping": "It has to."}})

    assert "| server 2026-07-28 | 1 | 0, 1 failed |\n" in written
    assert "| `ping`: `ping` | SUCCESS x1 | FAILURE x1 | It has to. |\n" in written
    assert "| `ping` | 1 | 0, 1 failed |\n" in written


def test_what_has_no_reason_is_said_to_have_none() -> None:
    assert "nobody knows" in page([RUN], {"client 2026-07-28": {"ping:ping": "It has to."}})


def test_where_nothing_differs_nothing_is_said_of_it() -> None:
    assert "What differs" not in page([Run("server 2026-07-28", {"ping": PASSED}, {"ping": PASSED})], {})
