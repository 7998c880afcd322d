"""Handshakes between two sessions in memory: who is let in, who is not, and what a stranger learns."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import BundleSet, SpiffeId
from spiffe_mcp.tls import Peer, TlsIdentity, TlsSession
from tests.fakes.mini_ca import MiniCa
from tests.unit.tls.ends import (
    ANYBODY_OF_A,
    EXPIRED,
    NOT_YET,
    NOW,
    allowed,
    believing,
    bundles,
    ca,
    connected,
    identity,
    talk,
)  # fmt: skip

SERVER = SpiffeId.parse("spiffe://a.test/server")


def refusal(client: TlsSession, server: TlsSession) -> Refused:
    for end in (client, server):
        end.start()
    with pytest.raises(Refused) as caught:
        talk(client, server)
    return caught.value


# -- who is let in ---------------------------------------------------------------------------------------


def test_each_end_learns_the_other_s_spiffe_id() -> None:
    client, server = connected()
    assert client.peer is not None
    assert server.peer is not None
    assert (str(client.peer.spiffe_id), str(server.peer.spiffe_id)) == (
        "spiffe://a.test/server", "spiffe://a.test/client",
    )  # fmt: skip


def test_a_peer_is_the_chain_it_proved_and_for_how_long() -> None:
    below = ca().subordinate()
    svid = below.issue("/client")
    client, server = connected(client=believing(bundles(ca()), svid))
    assert server.peer is not None
    assert server.peer.chain_der == svid.chain_der
    assert server.peer.leaf_der == svid.chain_der[0]
    assert server.peer.not_after == svid.not_after
    assert "chain" not in repr(server.peer)
    assert client.peer is not None


def test_trust_domains_may_trust_each_other() -> None:
    client = identity("/client", of=ca("b.test"))
    server = identity("/server")
    ends = client.connect(SERVER), server.accept(allowed("spiffe://b.test/client"))
    for end in ends:
        end.start()
    talk(*ends)
    assert ends[1].peer is not None
    assert str(ends[1].peer.spiffe_id) == "spiffe://b.test/client"


def test_an_rsa_svid_serves_as_well() -> None:
    connected(client=identity("/client", key_kind="rsa2048"), server=identity("/server", key_kind="p384"))


# -- who is not ------------------------------------------------------------------------------------------

STRANGER = MiniCa("a.test", now=NOW)  # the same name, another key
UNKNOWN = MiniCa("c.test", now=NOW)

CLIENTS = {
    "a path not allowed": (lambda: identity("/other"), Reason.ID_NOT_AUTHORIZED),
    "a trust domain not allowed": (lambda: identity("/client", of=ca("b.test")), Reason.ID_NOT_AUTHORIZED),
    "a trust domain not known": (lambda: identity("/client", of=UNKNOWN), Reason.CHAIN_UNTRUSTED),
    "a stranger of the same name": (lambda: identity("/client", of=STRANGER), Reason.CHAIN_UNTRUSTED),
    "an expired certificate": (lambda: identity("/client", **EXPIRED), Reason.CERTIFICATE_EXPIRED),
    "a certificate not yet valid": (lambda: identity("/client", **NOT_YET), Reason.CERTIFICATE_NOT_YET_VALID),
    "an authority of one domain naming another": (
        lambda: identity("/client", of=ca("b.test"), uris=["spiffe://a.test/client"]),
        Reason.ISSUER_TRUST_DOMAIN,  # OpenSSL's fence alone, which pools all authorities, would let it in
    ),
}  # fmt: skip


@pytest.mark.parametrize(("client", "reason"), CLIENTS.values(), ids=CLIENTS)
def test_a_server_refuses(client: Callable[[], TlsIdentity], reason: Reason) -> None:
    server = identity("/server").accept(allowed("spiffe://a.test/client"))
    assert refusal(client().connect(SERVER), server).reason is reason
    assert server.peer is None


SERVERS = {
    "another path": (lambda: identity("/other"), Reason.ID_NOT_AUTHORIZED),
    "another trust domain": (lambda: identity("/server", of=ca("b.test")), Reason.ID_NOT_AUTHORIZED),
    "a stranger of the same name": (lambda: identity("/server", of=STRANGER), Reason.CHAIN_UNTRUSTED),
    "an expired certificate": (lambda: identity("/server", **EXPIRED), Reason.CERTIFICATE_EXPIRED),
}


@pytest.mark.parametrize(("server", "reason"), SERVERS.values(), ids=SERVERS)
def test_a_client_refuses_and_shows_nothing_of_itself(
    server: Callable[[], TlsIdentity], reason: Reason
) -> None:
    client = identity("/client").connect(SERVER)
    accepting = server().accept(ANYBODY_OF_A)
    assert refusal(client, accepting).reason is reason
    # What is left to send is an alert at most: the server sees no certificate, and never completes.
    alert = client.outgoing()
    assert len(alert) < 100
    if alert:
        with pytest.raises(Refused, match="ALERT"):
            accepting.receive(alert)
    assert accepting.peer is None


def test_a_server_of_another_id_gets_not_even_an_alert() -> None:
    client, server = identity("/client").connect(SERVER), identity("/other").accept(ANYBODY_OF_A)
    assert refusal(client, server).reason is Reason.ID_NOT_AUTHORIZED
    assert client.outgoing() == b""
    assert server.receive(b"") == b""
    assert server.peer is None


def test_nobody_is_let_in_where_nobody_is_allowed() -> None:
    server = identity("/server").accept(allowed())
    assert refusal(identity("/client").connect(SERVER), server).reason is Reason.ID_NOT_AUTHORIZED


def test_nobody_is_let_in_without_bundles() -> None:
    server = believing(BundleSet()).accept(ANYBODY_OF_A)
    assert refusal(identity("/client").connect(SERVER), server).reason is Reason.CHAIN_UNTRUSTED


def test_the_verifier_reads_its_own_clock_not_openssl_s() -> None:
    state = identity("/server").state
    late = TlsIdentity(state, lambda: NOW + timedelta(hours=2))
    ends = identity("/client").connect(SERVER), late.accept(ANYBODY_OF_A)
    assert refusal(*ends).reason is Reason.CERTIFICATE_EXPIRED


def test_a_fault_in_the_verifier_lets_nobody_in_and_shows_nothing() -> None:
    def broken(_: tuple[bytes, ...]) -> Peer:
        raise ZeroDivisionError

    client = TlsSession(lambda: identity("/client").client_context, server_side=False, verify=broken)
    server = identity("/server").accept(ANYBODY_OF_A)
    for end in (client, server):
        end.start()
    with pytest.raises(ZeroDivisionError):
        talk(client, server)
    assert (client.peer, client.outgoing()) == (None, b"")


# -- other TLS stacks ------------------------------------------------------------------------------------


def plain_client(
    *, tls12: bool = False, certificate: bool = True, alpn: str = "http/1.1"
) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A client of the standard library that verifies nobody."""
    context = identity("/client").client_context if certificate else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if tls12:
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([alpn])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    return context.wrap_bio(incoming, outgoing), incoming, outgoing


def shake(client: tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO], server: TlsSession) -> None:
    tls, incoming, outgoing = client
    server.start()
    for _ in range(3):
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        server.receive(outgoing.read())
        incoming.write(server.outgoing())


def test_a_client_without_a_certificate_is_refused() -> None:
    server = identity("/server").accept(ANYBODY_OF_A)
    with pytest.raises(Refused) as caught:
        shake(plain_client(certificate=False), server)
    assert caught.value.reason is Reason.TLS_NO_CERTIFICATE
    assert server.peer is None


def test_a_client_of_tls_1_2_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        shake(plain_client(tls12=True), identity("/server").accept(ANYBODY_OF_A))
    assert (caught.value.reason, caught.value.detail) == (Reason.TLS_HANDSHAKE, "UNSUPPORTED_PROTOCOL")


def test_the_context_is_the_one_of_the_first_byte() -> None:
    """Who waits before he speaks meets the newest SVID; and who says nothing costs nothing."""
    asked: list[TlsIdentity] = []
    newest = identity("/server")

    def context() -> ssl.SSLContext:
        asked.append(newest)
        return newest.server_context

    client = identity("/client").connect(SERVER)
    server = TlsSession(context, server_side=True, verify=identity("/server").accept(ANYBODY_OF_A)._verify)
    server.start()
    assert asked == []
    newest = identity("/server")
    client.start()
    talk(client, server)
    assert asked == [newest]
    assert client.peer is not None
    assert client.peer.chain_der[0] == newest.state.svid.chain_der[0]


def test_sessions_are_never_resumed() -> None:
    """A resumed session would skip the certificate, and with it revocation."""
    server = identity("/server")
    client = plain_client()
    shake(client, first := server.accept(ANYBODY_OF_A))
    assert first.peer is not None
    client[1].write(first.send(b"hi"))
    assert client[0].read(10) == b"hi"  # tickets would have come before
    session = client[0].session
    assert session is None or not session.has_ticket
    again = client[0].context.wrap_bio(
        incoming := ssl.MemoryBIO(), outgoing := ssl.MemoryBIO(), session=session
    )
    shake((again, incoming, outgoing), second := server.accept(ANYBODY_OF_A))
    assert again.session_reused is False
    assert second.peer is not None


def test_a_resumed_session_would_be_refused_if_there_were_one() -> None:
    server = identity("/server")
    server.server_context.num_tickets = 2
    client = plain_client()
    shake(client, first := server.accept(ANYBODY_OF_A))
    client[1].write(first.send(b"hi"))
    client[0].read(10)
    again = client[0].context.wrap_bio(
        incoming := ssl.MemoryBIO(), outgoing := ssl.MemoryBIO(), session=client[0].session
    )
    second = server.accept(ANYBODY_OF_A)
    with pytest.raises(Refused) as caught:
        shake((again, incoming, outgoing), second)
    assert caught.value.reason is Reason.TLS_RESUMED
    assert second.peer is None


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 100, b"\x16\x03\x01\x00\x05hello"]
)
def test_garbage_is_refused(garbage: bytes) -> None:
    server = identity("/server").accept(ANYBODY_OF_A)
    server.start()
    with pytest.raises(Refused) as caught:
        server.receive(garbage)
    assert caught.value.reason is Reason.TLS_HANDSHAKE
    assert server.peer is None


# -- the alert of a server that refused us ---------------------------------------------------------------


def test_a_client_learns_from_the_alert_that_its_certificate_was_refused() -> None:
    client = identity("/client", of=UNKNOWN).connect(SERVER)
    server = identity("/server").accept(ANYBODY_OF_A)
    assert refusal(client, server).reason is Reason.CHAIN_UNTRUSTED
    assert client.peer is not None  # TLS 1.3: its own handshake was complete before the server looked
    with pytest.raises(Refused) as caught:
        client.receive(server.outgoing())
    assert (caught.value.reason, caught.value.detail) == (Reason.TLS_HANDSHAKE, "TLSV1_ALERT_UNKNOWN_CA")


# -- plaintext -------------------------------------------------------------------------------------------


def test_nothing_is_sent_before_the_peer_is_verified() -> None:
    client, server = identity("/client").connect(SERVER), identity("/server").accept(ANYBODY_OF_A)
    for end in (client, server):
        end.start()
        with pytest.raises(Refused, match=r"tls\.handshake: nothing is sent"):
            end.send(b"secret")
    server.receive(client.outgoing())
    client.receive(server.outgoing())
    assert client.peer is not None
    with pytest.raises(Refused, match=r"tls\.handshake: nothing is sent"):
        server.send(b"secret")  # the server has sent all of its handshake, and knows nobody yet


def test_what_a_refused_client_sent_along_is_never_read() -> None:
    client, server = identity("/other").connect(SERVER), identity("/server").accept(allowed())
    for end in (client, server):
        end.start()
    server.receive(client.outgoing())
    client.receive(server.outgoing())
    request = client.outgoing() + client.send(b"POST / HTTP/1.1")
    with pytest.raises(Refused):
        server.receive(request)


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 3_000_000])
def test_data_of_any_size_passes_both_ways(size: int) -> None:
    client, server = connected()
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert server.receive(client.send(data)) == data
    assert client.receive(server.send(data)) == data


def test_ciphertext_may_come_byte_by_byte() -> None:
    client, server = identity("/client").connect(SERVER), identity("/server").accept(ANYBODY_OF_A)
    for end in (client, server):
        end.start()
    for speaker, hearer in ((client, server), (server, client), (client, server)):
        for byte in speaker.outgoing():
            assert hearer.receive(bytes([byte])) == b""
    assert server.peer is not None
    assert b"".join(server.receive(bytes([byte])) for byte in client.send(b"hello")) == b"hello"


def test_a_request_that_comes_with_the_last_of_the_handshake_is_read() -> None:
    client, server = identity("/client").connect(SERVER), identity("/server").accept(ANYBODY_OF_A)
    for end in (client, server):
        end.start()
    server.receive(client.outgoing())
    client.receive(server.outgoing())
    assert server.receive(client.outgoing() + client.send(b"hello")) == b"hello"


def test_a_record_that_was_touched_is_refused() -> None:
    client, server = connected()
    record = bytearray(client.send(b"hello"))
    record[-1] ^= 1
    with pytest.raises(Refused) as caught:
        server.receive(bytes(record))
    assert caught.value.reason is Reason.TLS_HANDSHAKE


def test_a_goodbye_is_heard_and_is_not_the_end_of_the_other_direction() -> None:
    client, server = connected()
    assert server.receive(client.send(b"last") + client.close()) == b"last"
    assert server.closed_by_peer
    assert not client.closed_by_peer
    assert client.receive(server.send(b"answer")) == b"answer"
    assert client.receive(server.close()) == b""
    assert client.closed_by_peer


def test_closing_before_the_handshake_says_nothing() -> None:
    assert identity("/client").connect(SERVER).close() == b""
