"""The page about the suite is what the suite is."""

from tests.intermediary import report
from tests.intermediary.checks import CHECKS


def test_the_page_is_up_to_date() -> None:
    assert report.PAGE.read_text() == report.page(), "run scripts/intermediary"


def test_no_two_checks_have_one_name() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_what_a_plain_proxy_passes_is_in_the_suite_and_not_all_of_it() -> None:
    assert {check.name for check in CHECKS} > report.PASSED_BY_A_PLAIN_PROXY


def test_every_point_is_checked_or_said_to_be_elsewhere() -> None:
    checked = {check.number for check in CHECKS}
    assert checked.isdisjoint(report.ELSEWHERE)
    assert checked | report.ELSEWHERE.keys() == {*range(1, 39)}
    assert min(len(check.clause) for check in CHECKS) > 5
