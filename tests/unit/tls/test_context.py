"""Keys stay in memory, contexts say TLS 1.3 and nothing less, and a new state is a new identity."""

import ssl
from pathlib import Path

import pytest

from spiffe_mcp.identity import SpiffeId
from tests.unit.tls.ends import ANYBODY_OF_A, identity

SERVER = SpiffeId.parse("spiffe://a.test/server")


def open_files() -> set[str]:
    return {str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


def test_the_key_reaches_openssl_through_memory_that_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    load = ssl.SSLContext.load_cert_chain

    def watched(context: ssl.SSLContext, path: str) -> None:
        paths.append(str(Path(path).readlink()))
        load(context, path)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    before = open_files()
    identity("/client").connect(SERVER)
    assert set(paths) == {"/memfd:svid (deleted)"}
    assert open_files() == before


def test_a_context_is_made_once_a_state_and_side() -> None:
    one = identity()
    assert one.server_context is one.server_context
    assert one.client_context is not one.server_context
    assert one.server_context is not identity().server_context


@pytest.mark.parametrize("side", ["server_context", "client_context"])
def test_the_outer_fence_stands(side: str) -> None:
    context: ssl.SSLContext = getattr(identity(), side)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_server_gives_no_tickets() -> None:
    assert identity().server_context.num_tickets == 0


def test_neither_key_nor_chain_shows_in_a_representation() -> None:
    one = identity()
    shown = (
        repr(one) + repr(one.state) + repr(one.accept(ANYBODY_OF_A)) + repr(vars(one.accept(ANYBODY_OF_A)))
    )
    assert "PRIVATE" not in shown
    assert "chain_der" not in shown
    assert "PrivateKey" not in shown
