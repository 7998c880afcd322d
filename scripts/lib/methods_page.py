"""Makes `docs/reference/methods.md`: which methods of MCP pass, in which era and direction, and how.

The methods, their eras and what each acts upon are the code's own: its tables are read, and its readers are
asked. Words are here.
"""  # noqa: INP001  scripts are no package

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from spiffe_mcp.errors import Refused
from spiffe_mcp.mcp import Request, caching, results
from spiffe_mcp.mcp.capabilities import NOTHING
from spiffe_mcp.mcp.era import Era
from spiffe_mcp.mcp.methods import NOTIFICATIONS, REQUESTS, Kind, Subject, subject_of_request
from spiffe_mcp.mcp.notifications import CHANGES, PASSED
from spiffe_mcp.mcp.server_requests import check_offered, needed
from spiffe_mcp.mesh.answer import MAX_TTL_MS
from spiffe_mcp.strict_json import JsonObject

_INTRODUCTION: Final = """\
# Methods

Which messages of MCP pass through the mesh, and what is done to each. The lists are closed: a method that is
not here, or not in its era, is refused at the egress already (`mcp.method_unknown`), and what a server says
by another name is left out or refused. `modern` is 2026-07-28; `legacy` is every revision before it.

Of every message, the form is checked. To every request, the response that passes is the one with its ID, of a
type that may come; what else of it is looked at is the last column. Every message of a client is a question
to policy, with its method as `input.action`; the rest of what policy is given is in
[policy input](policy-input.md). Made by `scripts/reference`.
"""
_CLIENT: Final = """
## A client asks

| method | era | policy sees, beside the action | of the answer |
|---|---|---|---|
"""
_CLIENT_TELLS: Final = """
## A client tells

Each is a question to policy too, and needs the session of its sender where the server has sessions.

| method | era |
|---|---|
"""
_SERVER_TELLS: Final = """
## A server tells, in the answer to a call or in a stream of its session

What is on the list passes: if it is about a task, to the task's owner alone; if it is about a change, to whom
policy would permit to ask what is there now. All else is left out, and the stream goes on.

| method | era | only to whom policy permits |
|---|---|---|
"""
_SERVER_ASKS: Final = """
## A server asks

In a stream of a session (legacy), where policy is asked with the direction `server_to_client`; or
in a result that is not complete, of which the client's next round is a call of its own (modern). Everything
else that a server asks is refused.

| method | era | the client must have declared |
|---|---|---|
"""
_REST: Final = """
## Without a method

| what | era | the action that policy sees |
|---|---|---|
| a response of the client's | legacy | `session/answer`: to a question that waits in its own session |
| GET | legacy | `session/listen`: to its own session, also after an event that was sent in it |
| DELETE | legacy | `session/end`: of its own session |
"""
# Whatever a server asks of a client in any revision ("ServerRequest" of its schema). What of it passes is
# what the code lets pass.
SERVER_REQUESTS: Final = (
    "elicitation/create",
    "ping",
    "roots/list",
    "sampling/createMessage",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
)

_SEEN: Final[Mapping[Kind, str]] = {
    Kind.NONE: "",
    Kind.TOOL: "`tool`, as its publisher signed it; `arguments`, as the signed schema has them",
    Kind.PROMPT: "`prompt`",
    Kind.RESOURCE: "`resource`",
    Kind.TASK: "`tool`: the one that made the task, which is the caller's own",
}
LISTED: Final[Mapping[str, str]] = {
    "subscriptions/listen": "of each change that is asked for, what is to be told: as below",
    "tools/list": "`tools`, all at once, and says which are visible",
}
FILTERED: Final[Mapping[str, str]] = {
    "tools/list": "the tools that are as signed and that policy shows, as signed",
    "subscriptions/listen": "what was asked for and policy permits: see below",
    "tasks/list": "the caller's own tasks",
    "tools/call": "a task that it makes is the caller's",
}
# Every parameter that some method acts by: what a reader makes of it is what the table says.
_NAMED: Final[JsonObject] = {"name": "n", "uri": "u", "taskId": "t"}
_REFERENCES: Final[tuple[JsonObject, ...]] = (
    {"type": "ref/prompt", "name": "n"},
    {"type": "ref/resource", "uri": "u"},
)


def page() -> str:
    """The whole page."""
    asked = [name for era in Era for name in REQUESTS[era]]
    return "".join(
        [
            _INTRODUCTION,
            _CLIENT,
            *(_asked(method) for method in sorted(set(asked))),
            _CLIENT_TELLS,
            *_told(NOTIFICATIONS),
            _SERVER_TELLS,
            *_told(PASSED, CHANGES),
            _SERVER_ASKS,
            *map(_question, SERVER_REQUESTS),
            _REST,
        ]
    )


def _asked(method: str) -> str:
    seen = dict.fromkeys(subject for era in _eras(REQUESTS, method) for subject in _subjects(era, method))
    policy = LISTED.get(method) or "; or ".join(filter(None, (_seen(*subject) for subject in seen)))
    eras = ", ".join(era.value for era in _eras(REQUESTS, method))
    return f"| `{method}` | {eras} | {policy or '-'} | {'; '.join(_of_answer(method)) or '-'} |\n"


def _subjects(era: Era, method: str) -> Iterator[tuple[Kind, bool]]:
    """What the method may act upon, and whether with arguments that policy sees."""
    for reference in _REFERENCES:
        subject: Subject = subject_of_request(era, method, {**_NAMED, "arguments": {}, "ref": reference})
        yield subject.kind, subject.arguments is not None


def _seen(kind: Kind, has_arguments: bool) -> str:
    arguments = ", `arguments`" if has_arguments and kind is not Kind.TOOL else ""
    return f"{_SEEN[kind]}{arguments}"


def _of_answer(method: str) -> Iterator[str]:
    if method in FILTERED:
        yield FILTERED[method]
    if any(kind is Kind.TASK for era in _eras(REQUESTS, method) for kind, _ in _subjects(era, method)):
        yield "about that task, and no other"
    if method in caching.CACHED:
        yield f"`cacheScope` is `private`, `ttlMs` {MAX_TTL_MS // 1000} s at most"
    if method in results.MAY_ASK or method == "tasks/get":
        yield "asks the client only what it declared (modern)"


def _question(method: str) -> str:
    """The row of what a server may ask; nothing if it may not."""
    eras = [era for era in Era if _may_ask(era, method)]
    if not eras:
        return ""
    declared = needed(method, {}).name if Era.MODERN in eras else None
    said = f"`{declared.lower()}`" if declared else "-"
    return f"| `{method}` | {', '.join(era.value for era in eras)} | {said} |\n"


def _may_ask(era: Era, method: str) -> bool:
    with suppress(Refused):
        if era is Era.MODERN:
            needed(method, {})
        else:
            check_offered(Request(b"", 1, method, None), ~NOTHING)
        return True
    return False


def _told(lists: Mapping[Era, frozenset[str]], changes: Mapping[str, str] | None = None) -> Iterable[str]:
    for method in sorted(frozenset[str]().union(*lists.values())):
        about = "" if changes is None else f" {f'`{changes[method]}`' if method in changes else '-'} |"
        yield f"| `{method}` | {', '.join(era.value for era in _eras(lists, method))} |{about}\n"


def _eras(lists: Mapping[Era, Iterable[str]], method: str) -> list[Era]:
    return [era for era in Era if method in lists[era]]
