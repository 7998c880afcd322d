"""`docs/reference/methods.md` says of every method what the code does, and of no other anything."""

import re

import pytest

from scripts.lib import methods_page
from spiffe_mcp.mcp import caching, results
from spiffe_mcp.mcp.era import Era
from spiffe_mcp.mcp.methods import NOTIFICATIONS, REQUESTS
from spiffe_mcp.mcp.notifications import PASSED

ROW = re.compile(r"\| `([\w/]+)` \| ([\w, ]+) \|")
LISTS = {"A client asks": REQUESTS, "A client tells": NOTIFICATIONS, "A server tells": PASSED}


def rows(heading: str) -> dict[str, set[str]]:
    """Methods and their eras, as the section says it."""
    (section,) = (part for part in methods_page.page().split("\n## ") if part.startswith(heading))
    return {method: set(eras.split(", ")) for method, eras in ROW.findall(section)}


@pytest.mark.parametrize("heading", LISTS)
def test_each_list_of_the_code_is_a_section_and_nothing_is_beside_it(heading: str) -> None:
    expected: dict[str, set[str]] = {}
    for era in Era:
        for method in LISTS[heading][era]:
            expected.setdefault(method, set()).add(era.value)
    assert rows(heading) == expected


def test_what_a_server_asks_is_what_passes() -> None:
    assert rows("A server asks") == {
        "elicitation/create": {"modern", "legacy"},
        "ping": {"legacy"},
        "roots/list": {"modern", "legacy"},
        "sampling/createMessage": {"modern", "legacy"},
    }


def test_what_is_said_of_a_method_is_said_of_one_that_there_is() -> None:
    known = set().union(*REQUESTS.values())
    assert {*methods_page.LISTED, *methods_page.FILTERED, *caching.CACHED, *results.MAY_ASK} <= known
