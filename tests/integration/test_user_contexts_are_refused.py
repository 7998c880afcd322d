"""A user context holds for one user, one request and one connection; every other use of it is refused.

The client here is a mesh agent that may connect, and lies about everything else.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

import pytest

from spiffe_mcp.errors import Reason
from spiffe_mcp.http import Request
from tests.fakes import links
from tests.fakes.mcp_client import Hop, call, now, with_body, with_header
from tests.fakes.mesh import PLANNER, REVIEWER, Mesh
from tests.fakes.mini_ca import MiniCa

pytestmark = pytest.mark.asyncio(loop_scope="module")

Forge: TypeAlias = Callable[[Mesh, Hop], Request]

GOOD: Final = call("echo", text="mine")
HEADER: Final = "mesh-user-context"


def altered_signature(_: Mesh, hop: Hop) -> Request:
    signing_input, signature = hop.context(GOOD).rsplit(".", 1)
    other = "A" if signature[10] != "A" else "B"
    return with_header(GOOD, HEADER, f"{signing_input}.{signature[:10]}{other}{signature[11:]}")


def signed_by_another_workload(mesh: Mesh, hop: Hop) -> Request:
    return hop.signed(GOOD, mesh.svid(REVIEWER))


def signed_in_another_trust_domain(_: Mesh, hop: Hop) -> Request:
    return hop.signed(GOOD, MiniCa("other.test", now=now()).issue(PLANNER.path))


def signed_by_a_forged_authority(_: Mesh, hop: Hop) -> Request:
    return hop.signed(GOOD, MiniCa("mesh.test", now=now()).issue(PLANNER.path))


def signed_for_another_body(_: Mesh, hop: Hop) -> Request:
    signed = hop.signed(GOOD)
    return with_body(signed, GOOD.body.replace(b'"mine"', b'"ours"'))


def signed_for_another_method(_: Mesh, hop: Hop) -> Request:
    return hop.signed(GOOD, mcp={"method": "tools/list"})


def two_contexts(_: Mesh, hop: Hop) -> Request:
    return with_header(hop.signed(GOOD), HEADER, hop.context(GOOD))


def issued(seconds: int) -> dict[str, int]:
    at = int(now().timestamp()) + seconds
    return {"iat": at, "exp": at + 60}


FORGED: Final[dict[str, tuple[Forge, int, Reason]]] = {
    "none": (lambda *_: GOOD, 403, Reason.CONTEXT_MISSING),
    "two": (two_contexts, 400, Reason.CONTEXT_MALFORMED),
    "no context at all": (lambda _, __: with_header(GOOD, HEADER, "hello"), 400, Reason.CONTEXT_MALFORMED),
    "two links": (
        lambda _, hop: with_header(GOOD, HEADER, f"{hop.context(GOOD)}~{hop.context(GOOD)}"),
        403,
        Reason.CONTEXT_CHAIN_UNSUPPORTED,
    ),
    "by another workload": (signed_by_another_workload, 403, Reason.CONTEXT_PEER_MISMATCH),
    "by another trust domain": (signed_in_another_trust_domain, 403, Reason.CONTEXT_CERTIFICATE),
    "by a forged authority": (signed_by_a_forged_authority, 403, Reason.CONTEXT_CERTIFICATE),
    "one byte of the signature": (altered_signature, 403, Reason.CONTEXT_SIGNATURE),
    "for another body": (signed_for_another_body, 403, Reason.CONTEXT_BINDING_BODY),
    "for another MCP method": (signed_for_another_method, 403, Reason.CONTEXT_BINDING_MCP),
    "for another tool": (
        lambda _, hop: hop.signed(GOOD, mcp={"method": "tools/call", "name": "pay"}),
        403,
        Reason.CONTEXT_BINDING_MCP,
    ),
    "for another HTTP method": (
        lambda _, hop: hop.signed(GOOD, htm="DELETE"),
        403,
        Reason.CONTEXT_BINDING_METHOD,
    ),
    "for another server's path": (
        lambda _, hop: hop.signed(GOOD, htu="https://localhost/vault/mcp"),
        403,
        Reason.CONTEXT_BINDING_URI,
    ),
    "for another audience": (
        lambda _, hop: hop.signed(GOOD, aud="spiffe://mesh.test/mcp/vault"),
        403,
        Reason.CONTEXT_AUDIENCE,
    ),
    "for another connection": (
        lambda mesh, hop: hop.signed(GOOD, cnf={"x5t#S256": links.thumbprint(mesh.svid(REVIEWER))}),
        403,
        Reason.CONTEXT_CHANNEL,
    ),
    "in another workload's name": (
        lambda _, hop: hop.signed(GOOD, act={"sub": str(REVIEWER)}),
        403,
        Reason.CONTEXT_ACTOR,
    ),
    "expired": (lambda _, hop: hop.signed(GOOD, **issued(-120)), 403, Reason.CONTEXT_EXPIRED),
    "not yet valid": (lambda _, hop: hop.signed(GOOD, **issued(60)), 403, Reason.CONTEXT_NOT_YET_VALID),
    "for a day": (
        lambda _, hop: hop.signed(GOOD, exp=int(now().timestamp()) + 86400),
        403,
        Reason.CONTEXT_LIFETIME,
    ),
}


@pytest.mark.parametrize(("forge", "status", "reason"), FORGED.values(), ids=FORGED.keys())
async def test_a_context_that_does_not_hold_is_refused_and_recorded(
    mesh: Mesh, forge: Forge, status: int, reason: Reason
) -> None:
    hop = mesh.hop()
    before = len(mesh.log("ingress").records())
    with mesh.server.untouched():
        answer = await hop.ask(forge(mesh, hop))
    assert (answer.status, answer.reason) == (status, reason.code)
    assert answer.document["id"] == 1
    (record,) = mesh.log("ingress").records()[before:]
    assert (record["decision"], record["outcome"], record["reason"]) == ("refuse", "refused", reason.code)
    assert record["peer"] == str(PLANNER)
    assert "user" not in record, "nobody vouched for it"
    assert (await hop.ask(hop.signed(GOOD))).text == "mine"


async def test_a_context_is_good_once(mesh: Mesh) -> None:
    hop = mesh.hop()
    once = hop.signed(GOOD)
    assert (await hop.ask(once)).text == "mine"
    with mesh.server.untouched():
        again = await hop.ask(once)
    assert (again.status, again.reason) == (403, Reason.CONTEXT_REPLAYED.code)
    assert mesh.log("ingress").last()["reason"] == Reason.CONTEXT_REPLAYED.code
    assert (await hop.ask(hop.signed(GOOD))).text == "mine"


async def test_a_context_of_the_former_svid_does_not_hold_on_a_connection_of_the_new_one(mesh: Mesh) -> None:
    before = mesh.hop()
    mesh.provider.rotate()
    after = mesh.hop()
    with mesh.server.untouched():
        answer = await after.ask(after.signed(GOOD, before.svid))
    assert (answer.status, answer.reason) == (403, Reason.CONTEXT_SIGNER_MISMATCH.code)
    assert (await after.ask(after.signed(GOOD))).text == "mine"


async def test_a_refusal_does_not_end_the_connection(mesh: Mesh) -> None:
    hop = mesh.hop()
    answer = await hop.ask(GOOD, replace(GOOD), hop.signed(GOOD))
    assert answer.text == "mine"
