"""The page `docs/reference/intermediary.md`: each check, and which proxies pass it.

Two columns are asserted by the tests beside this file, each time they run: all checks pass against two
agents, and a plain proxy passes just those of `PASSED_BY_A_PLAIN_PROXY`. The others were measured once, and
stand in `measured.json`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.intermediary.check import Bench, Check
from tests.intermediary.checks import CHECKS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "reference" / "intermediary.md"
MEASURED: Final = Path(__file__).with_name("measured.json")

# What is about passing on: whoever does nothing else does that.
PASSED_BY_A_PLAIN_PROXY: Final = frozenset(
    {
        "numbers reach the server as they were written",
        "numbers reach the client as they were written",
        "members nobody knows reach the server",
        "members nobody knows reach the client",
        "who leaves is subscribed no more",
        "what was subscribed to is told at once and under the id of the request",
        "who opened a session hears what its server tells",
        "a question reaches the client that offered to answer and its answer the server",
        "a json answer stays json",
        "a stream stays a stream",
        "the server reads the body that was authorised",
        "an id comes back as it was sent",
        "the other primitives pass",
        "a mirror may be in any case and have white space around it",
        "a mirrored parameter nobody knows reaches the server",
        "every earlier revision is spoken",
        "the server is called by its own name",
        "a definition is shown whole",
        "a filtered stream keeps its comments and ids",
        "a request for input and its state pass bit by bit",
        "each event is delivered before the next is sent",
        "comments that keep a stream alive pass at once",
        "a client that leaves cancels its call at the server",
        "a client that leaves before an answer has begun cancels it too",
        "no cancellation is made up for a client that leaves",
        "a cancellation of the legacy era reaches the server",
        "a stream that its server cuts ends without a result",
        "a call is never made twice",
        "whoever made a task can ask about it",
    }
)

# Points of the checklist that have no check here, and why.
ELSEWHERE: Final = {
    11: "A minimum revision of a route: not checked here yet.",
    20: "Instructions, prompts and resource templates pass as they came: manifests cover tools only.",
    34: "Which replica serves is seen with several servers: `tests/integration`.",
    35: "Time limits of streams: `tests/unit/mesh/test_relay.py`.",
    36: "Mutual TLS, rotation and revocation: `tests/integration`, `tests/interop`.",
    37: "Servers on stdio: `tests/integration/test_servers_over_stdio.py`.",
    38: "The official conformance suite through a mesh, with the totals it has directly: not run here.",
}

_INTRODUCTION: Final = """\
# Intermediary suite

What an MCP intermediary has to get right, as black-box tests against any proxy: a client on one side of it, a
server on the other that keeps the exact bytes it received. The official conformance suite tests clients and
servers, not what stands between them. How to run it against a proxy of your own:
[the guide](../guides/intermediary-suite.md).

The agents of this project pass every check, and a plain reverse proxy, which reads HTTP and passes the rest
on, fails those that matter: both are asserted whenever the tests run. Made by `scripts/intermediary`.

"""


@dataclass(frozen=True, slots=True)
class Column:
    """What one proxy passed, by the name of the check; None where it could not be asked."""

    proxy: str
    note: str
    passed: Mapping[str, bool | None]

    @classmethod
    def read(cls, document: Mapping[str, object]) -> Self:
        """A column as it stands in `measured.json`."""
        failed, skipped = document["failed"], document["not_asked"]
        assert isinstance(failed, Sequence)
        assert isinstance(skipped, Sequence)
        asked = {check.name: check.name not in failed for check in CHECKS if check.name not in skipped}
        passed = {check.name: asked.get(check.name) for check in CHECKS}
        return cls(str(document["proxy"]), str(document["note"]), passed)


def asserted() -> tuple[Column, Column]:
    """The two columns that the tests prove."""
    ours = Column("two agents", "", {check.name: True for check in CHECKS})
    plain = {check.name: check.name in PASSED_BY_A_PLAIN_PROXY for check in CHECKS}
    return ours, Column("plain proxy", "", plain)


def measured() -> list[Column]:
    """The others."""
    return (
        [Column.read(document) for document in json.loads(MEASURED.read_text())] if MEASURED.exists() else []
    )


async def failures(bench: Bench) -> dict[str, str]:
    """Why `bench` fails what it fails."""
    found = {check.name: await check.failure(bench) for check in CHECKS if check.needs <= bench.offers}
    return {name: why for name, why in found.items() if why is not None}


def page() -> str:
    """The whole page."""
    columns = [*asserted(), *measured()]
    return _INTRODUCTION + "".join([*_table(columns), *_notes(columns), *_elsewhere()])


def _table(columns: Sequence[Column]) -> Iterator[str]:
    yield f"| | what is demanded | clause | {' | '.join(column.proxy for column in columns)} |\n"
    yield f"|---|---|---|{'---|' * len(columns)}\n"
    for check in CHECKS:
        marks = (_MARKS[column.passed[check.name]] for column in columns)
        yield f"| {check.number} | {_sentence(check)} | {check.clause} | {' | '.join(marks)} |\n"
    totals = (_total(column) for column in columns)
    yield f"| | | passed | {' | '.join(totals)} |\n"


_MARKS: Final = {True: "yes", False: "**no**", None: "-"}


def _total(column: Column) -> str:
    asked = [passed for passed in column.passed.values() if passed is not None]
    return f"{sum(asked)} of {len(asked)}"


def _sentence(check: Check) -> str:
    return check.name[0].upper() + check.name[1:]


def _notes(columns: Sequence[Column]) -> Iterator[str]:
    for column in columns:
        if column.note:
            yield f"\n{column.proxy}: {column.note}\n"


def _elsewhere() -> Iterator[str]:
    yield "\nThe numbers are those of a list of 38 points. Not in this table:\n\n"
    for number, where in ELSEWHERE.items():
        yield f"- {number}: {where}\n"
