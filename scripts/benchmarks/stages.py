"""One agent with some of its stages taken out, to measure what each of them costs.

    python -m scripts.benchmarks.stages audit policy -- agent --config FILE

This is a program of the benchmark, and the only one: it changes the agent's code in the memory of its own
process, before it starts. The product has no option, no variable and no configuration that leaves one of
them out, and does not know this file. A stage that decides once and for all is still one that decides: what
is measured without it is what every further call pays for it.

TLS cannot be taken out: without it there is no peer, and nothing that the other stages could ask about.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

from spiffe_mcp.audit import AuditLog
from spiffe_mcp.cli.main import main
from spiffe_mcp.context import ReplayGuard, mint, verify
from spiffe_mcp.manifest import SignedTool
from spiffe_mcp.mesh import egress, ingress, ingress_listener, relay
from spiffe_mcp.mesh.answer import filter_for
from spiffe_mcp.mesh.upstream import Upstream
from spiffe_mcp.policy.rego import RegoPolicy


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which is asked the first time; that answer is everybody's from then on."""
    answers: list[Any] = []

    def answer(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  whatever it is for
        if not answers:
            answers.append(function(*arguments, **named))
        return answers[0]

    return answer


def nothing(*_: Any, **__: Any) -> None:  # noqa: ANN401  whatever it is for
    """Do nothing."""


def _once_each(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method, which each object asks once for each action."""
    answers: dict[tuple[int, str], Any] = {}

    def answer(self: object, question: Any) -> Any:  # noqa: ANN401  a PolicyInput
        key = (id(self), question.action)
        if key not in answers:
            answers[key] = function(self, question)
        return answers[key]

    return answer


def _calls_unread(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter of answers, but for those to `tools/call`, which pass as they come."""

    def answer(permit: Any, *others: Any) -> Any:  # noqa: ANN401  a Permit; and whatever belongs to it
        call = permit.authenticated.inbound.call
        is_call = call is not None and call.action == "tools/call"
        return relay.PassThrough() if is_call else function(permit, *others)

    return answer


@contextmanager
def _without_context() -> Iterator[None]:
    """The first user context is everybody's: neither signed nor verified anew, nor looked for as seen."""
    with (
        patch.object(egress, "mint", once(mint)),
        patch.object(ingress, "verify", once(verify)),
        patch.object(ReplayGuard, "check", nothing),
    ):
        yield


@contextmanager
def _without_manifest() -> Iterator[None]:
    """The live list is held against the manifest once, and never looked at again."""

    async def live(upstream: Upstream, now: Any) -> Any:  # noqa: ANN401  as the method itself
        view = upstream._view  # noqa: SLF001
        return view if view is not None else await asked(upstream, now)

    asked = Upstream.live
    with patch.object(Upstream, "live", live):
        yield


@contextmanager
def _without_schema() -> Iterator[None]:
    """Arguments are not held against the signed schema, in neither spelling, nor against headers."""
    with (
        patch.object(SignedTool, "validate_arguments", nothing),
        patch.object(ingress, "_check_spelling", nothing),
        patch.object(ingress, "_check_mirrored", nothing),
    ):
        yield


@contextmanager
def _without_policy() -> Iterator[None]:
    """Policy is asked once for each action."""
    with patch.object(RegoPolicy, "decide", _once_each(RegoPolicy.decide)):
        yield


@contextmanager
def _without_filter() -> Iterator[None]:
    """What a tool answers is not read."""
    with patch.object(ingress_listener, "filter_for", _calls_unread(filter_for)):
        yield


@contextmanager
def _without_audit() -> Iterator[None]:
    """Records are made, as the agent needs them, and not written."""
    with patch.object(AuditLog, "append", nothing), patch.object(AuditLog, "ensure_writable", nothing):
        yield


STAGES: Final[Mapping[str, Callable[[], Any]]] = {
    "context": _without_context,
    "manifest": _without_manifest,
    "schema": _without_schema,
    "policy": _without_policy,
    "filter": _without_filter,
    "audit": _without_audit,
}


@contextmanager
def without(names: Sequence[str]) -> Iterator[None]:
    """Run the inside with these stages taken out; raises `KeyError` for a name that is none."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(STAGES[name]())
        yield


if __name__ == "__main__":
    end = sys.argv.index("--")
    taken_out, sys.argv = sys.argv[1:end], [sys.argv[0], *sys.argv[end + 1 :]]
    with without(taken_out):
        main()
