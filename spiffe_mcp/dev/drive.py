"""Driving the demo: an ordinary MCP client of the official SDK, in both eras, and what has to come of it.

`drive` tries everything and says what the client saw. `judge`, once the mesh has stopped and every record is
written, finds in the audit log why, and holds both against what is expected. What is expected stands here,
beside what is tried; what came of it is only ever observed.
"""

from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass
from typing import Final, Literal

from mcp import Client, MCPError

from spiffe_mcp.errors import Reason
from spiffe_mcp.strict_json import JsonObject

Outcome = Literal["listed", "not listed", "called", "failed", "refused"]

ERAS: Final = {"modern": "2026-07-28", "legacy": "legacy"}  # our name, and the client's mode

# What the model may see: the signed tools that are unchanged, and that the policy shows to analysts.
LISTED: Final = frozenset({"approve_payment", "convert", "get_invoice", "list_invoices"})
NOT_LISTED: Final = {
    "export_ledger": Reason.MANIFEST_TOOL_UNSIGNED.code,
    "lookup_vendor": Reason.MANIFEST_TOOL_CHANGED.code,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call to try: `reason` is the code that the audit record has to give, empty if it has to succeed."""

    tool: str
    arguments: dict[str, object]
    reason: str = ""


ATTEMPTS: Final = (
    Attempt("list_invoices", {}),
    Attempt("convert", {"amount": 100, "currency": "CHF"}),
    Attempt("get_invoice", {"number": 7}, Reason.MANIFEST_ARGUMENTS_INVALID.code),
    Attempt("approve_payment", {"number": "A-1003", "amount": 48000}, Reason.POLICY_DENIED.code),
    Attempt("export_ledger", {}, Reason.MANIFEST_TOOL_UNSIGNED.code),
    Attempt("lookup_vendor", {"name": "ACME"}, Reason.MANIFEST_TOOL_CHANGED.code),
    Attempt("no_such_tool", {}, Reason.MCP_TOOL_UNKNOWN.code),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client saw of one tool: in the list, or when it called it."""

    era: str
    tool: str
    outcome: Outcome
    expected: tuple[Outcome, str]  # outcome and reason


@dataclass(frozen=True, slots=True)
class Step:
    """What was tried, what came of it, and why."""

    era: str
    tool: str
    outcome: Outcome
    reason: str
    expected: bool

    def document(self) -> JsonObject:
        """The step as JSON."""
        return asdict(self)


async def drive(url: str) -> AsyncIterator[Seen]:
    """Try everything, in both eras."""
    for era, mode in ERAS.items():
        async with Client(url, mode=mode) as client:
            listed = {tool.name for tool in (await client.list_tools()).tools}
            for name in sorted(LISTED | NOT_LISTED.keys() | listed):
                yield _listing(era, name, is_listed=name in listed)
            for attempt in ATTEMPTS:
                expected: Outcome = "refused" if attempt.reason else "called"
                yield Seen(era, attempt.tool, await _call(client, attempt), (expected, attempt.reason))


def judge(seen: Iterable[Seen], records: Iterable[JsonObject]) -> list[Step]:
    """Add to each sight the reason in its audit record; sights and records are in the order of time.

    Every tool is called once in an era, and every era begins with one list.
    """
    calls: dict[object, deque[JsonObject]] = defaultdict(deque)
    lists: deque[JsonObject] = deque()
    for record in records:
        if record["action"] == "tools/call":
            calls[record.get("tool")].append(record)
        elif record["action"] == "tools/list":
            lists.append(record)
    withheld = dict(zip(ERAS, (record.get("withheld") for record in lists), strict=False))
    return [_step(sight, _reason(sight, calls, withheld.get(sight.era))) for sight in seen]


def _reason(sight: Seen, calls: dict[object, deque[JsonObject]], withheld: object) -> str:
    if sight.outcome in ("listed", "not listed"):
        return str(withheld.get(sight.tool, "")) if isinstance(withheld, dict) else ""
    return str(calls[sight.tool].popleft().get("reason", "")) if calls[sight.tool] else "no record"


def _step(sight: Seen, reason: str) -> Step:
    return Step(sight.era, sight.tool, sight.outcome, reason, (sight.outcome, reason) == sight.expected)


def _listing(era: str, name: str, *, is_listed: bool) -> Seen:
    expected: Outcome = "listed" if name in LISTED else "not listed"
    return Seen(era, name, "listed" if is_listed else "not listed", (expected, NOT_LISTED.get(name, "")))


async def _call(client: Client, attempt: Attempt) -> Outcome:
    try:
        result = await client.call_tool(attempt.tool, attempt.arguments)
    except MCPError:
        return "refused"
    return "failed" if result.is_error else "called"
