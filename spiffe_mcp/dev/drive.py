"""Driving the demo: an ordinary MCP client of the official SDK, in both eras, and what has to come of it.

Enters: the URL of the egress, and a way to read the newest audit record. Leaves: one `Step` for each
thing that was tried. What is expected stands here, next to what is tried; whether it came true is measured.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import Final, Literal

from mcp import Client, MCPError

from spiffe_mcp.errors import Reason
from spiffe_mcp.strict_json import JsonObject

Outcome = Literal["listed", "not listed", "called", "refused"]

ERAS: Final = {"modern": "2026-07-28", "legacy": "legacy"}  # our name, and the client's mode


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call to try: `reason` is the code that the audit record has to give, empty if it has to succeed."""

    tool: str
    arguments: dict[str, object]
    reason: str = ""

    @property
    def outcome(self) -> Outcome:
        """What has to come of it."""
        return "refused" if self.reason else "called"


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


# What the model may see: the signed tools that are unchanged, and that the policy shows to analysts.
LISTED: Final = frozenset({"approve_payment", "convert", "get_invoice", "list_invoices"})
NOT_LISTED: Final = {
    "export_ledger": Reason.MANIFEST_TOOL_UNSIGNED.code,
    "lookup_vendor": Reason.MANIFEST_TOOL_CHANGED.code,
}
ATTEMPTS: Final = (
    Attempt("list_invoices", {}),
    Attempt("convert", {"amount": 100, "currency": "CHF"}),
    Attempt("get_invoice", {"number": 7}, Reason.MANIFEST_ARGUMENTS_INVALID.code),
    Attempt("approve_payment", {"number": "A-1003", "amount": 48000}, Reason.POLICY_DENIED.code),
    Attempt("export_ledger", {}, Reason.MANIFEST_TOOL_UNSIGNED.code),
    Attempt("lookup_vendor", {"name": "ACME"}, Reason.MANIFEST_TOOL_CHANGED.code),
    Attempt("no_such_tool", {}, Reason.MCP_TOOL_UNKNOWN.code),
)


async def drive(url: str, last_record: Callable[[], JsonObject]) -> AsyncIterator[Step]:
    """Try everything in both eras. `last_record` gives the newest record of the ingress: it says why."""
    for era, mode in ERAS.items():
        async with Client(url, mode=mode) as client:
            listed = {tool.name for tool in (await client.list_tools()).tools}
            for step in _listing(era, listed, last_record()):
                yield step
            for attempt in ATTEMPTS:
                yield await _try(client, era, attempt, last_record)


def _listing(era: str, listed: set[str], record: JsonObject) -> list[Step]:
    withheld = record.get("withheld")
    why = withheld if isinstance(withheld, dict) else {}
    steps = []
    for name in sorted(LISTED | NOT_LISTED.keys() | listed):
        outcome: Outcome = "listed" if name in listed else "not listed"
        reason = str(why.get(name, ""))
        expected = (name in LISTED, NOT_LISTED.get(name, ""))
        steps.append(Step(era, name, outcome, reason, (name in listed, reason) == expected))
    return steps


async def _try(client: Client, era: str, attempt: Attempt, last_record: Callable[[], JsonObject]) -> Step:
    outcome: Outcome = "called"
    try:
        result = await client.call_tool(attempt.tool, attempt.arguments)
        reason = "the tool failed" if result.is_error else ""
    except MCPError:
        outcome = "refused"
        reason = str(last_record().get("reason", ""))
    return Step(era, attempt.tool, outcome, reason, (outcome, reason) == (attempt.outcome, attempt.reason))
