"""Both ends of a TLS connection, and a wire between them that is a function call."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from spiffe_mcp.identity import AllowedIds, BundleSet, IdPattern, X509Svid
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.tls import TlsIdentity, TlsSession
from tests.fakes.mini_ca import MiniCa

NOW = datetime.now(UTC)  # noqa: TID251  OpenSSL's own check reads the real clock


def clock() -> datetime:
    return NOW


@cache
def ca(trust_domain: str = "a.test") -> MiniCa:
    return MiniCa(trust_domain, now=NOW)


def bundles(*authorities: MiniCa) -> BundleSet:
    return BundleSet.from_der({each.trust_domain: each.bundle_der for each in authorities})


def identity(path: str = "/server", *, of: MiniCa | None = None, **deviations: Any) -> TlsIdentity:
    """A workload of `a.test`, or `of` another domain, that believes both domains of these tests."""
    svid = (of or ca()).issue(path, **deviations)
    return TlsIdentity(IdentityState(svid, bundles(ca(), ca("b.test"))), clock)


def believing(trusted: BundleSet, svid: X509Svid | None = None) -> TlsIdentity:
    return TlsIdentity(IdentityState(svid or ca().issue("/server"), trusted), clock)


def allowed(*patterns: str) -> AllowedIds:
    return AllowedIds(tuple(map(IdPattern.parse, patterns)))


ANYBODY_OF_A = allowed("spiffe://a.test/**")
EXPIRED: dict[str, Any] = {"not_before": NOW - timedelta(hours=2), "lifetime": timedelta(hours=1)}
NOT_YET: dict[str, Any] = {"not_before": NOW + timedelta(hours=1)}


def talk(client: TlsSession, server: TlsSession) -> tuple[bytes, bytes]:
    """Carry bytes both ways until neither has more to say; returns what each end read in plaintext."""
    read = {client: b"", server: b""}
    silent = 0
    speaker, hearer = client, server
    while silent < 2:
        ciphertext = speaker.outgoing()
        silent = 0 if ciphertext else silent + 1
        if ciphertext:
            read[hearer] += hearer.receive(ciphertext)
        speaker, hearer = hearer, speaker
    return read[client], read[server]


def connected(
    client: TlsIdentity | None = None, server: TlsIdentity | None = None
) -> tuple[TlsSession, TlsSession]:
    """Two ends that have verified each other."""
    server = server or identity("/server")
    ends = (
        (client or identity("/client")).connect(server.state.svid.spiffe_id),
        server.accept(ANYBODY_OF_A),
    )
    for end in ends:
        end.start()
    talk(*ends)
    return ends
