"""Every chain of the corpus, presented to a running agent over a real socket: to its ingress and its egress.

The other end is a TLS peer that presents whatever it is given (`raw_tls`). Two fences stand in the agent:
OpenSSL's own check of the chain, and `verify_chain`. Which of the two answers first is not the peer's to
choose and is noted in `FENCED`: the outer one pools the roots of all trust domains and knows no SPIFFE rule,
so it may refuse in its own words, but lets nobody in.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
import yaml
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from spiffe_mcp.errors import Reason
from spiffe_mcp.mesh import recording
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.tls import verification
from tests.fakes.chains import BER, GOOD, HOSTILE, ID, Make, World
from tests.fakes.mcp_client import Plain, call, now
from tests.fakes.mcp_server import RecordingServer, serving_mcp
from tests.fakes.mesh import LIVE, PLANNER, SERVER, Log, Site, running_agent
from tests.fakes.mini_ca import MiniCa, Presented
from tests.fakes.raw_tls import Alert, RawServer, RawTls
from tests.fakes.workload_api import FakeWorkloadApi, message, svid_part

pytestmark = pytest.mark.asyncio(loop_scope="module")

_PATIENCE: Final = 10.0  # seconds for one event; only a failure takes so long
ROUTES: Final = {spiffe_id: f"to-{number}" for number, spiffe_id in enumerate(dict(GOOD.values()))}
ANSWER: Final = b'{"jsonrpc":"2.0","id":1,"result":{}}'
RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
    % (len(ANSWER), ANSWER)
)
NOBODY_S_PATH: Final = b"GET /nobody HTTP/1.1\r\nhost: mesh.test\r\n\r\n"

# Where OpenSSL answers before `verify_chain` would, and what: to a client, and to a server.
NOT_READ: Final = (Reason.TLS_HANDSHAKE, Reason.TLS_HANDSHAKE)  # no certificate for OpenSSL either
NO_PATH: Final = (Reason.CHAIN_UNTRUSTED, Reason.CHAIN_UNTRUSTED)  # no issuer, or "unsuitable purpose"
FENCED: Final[dict[str, tuple[Reason, Reason]]] = {
    "no certificate": (Reason.TLS_NO_CERTIFICATE, Reason.TLS_HANDSHAKE),
    "an empty certificate": NOT_READ,
    "garbage": NOT_READ,
    "garbage after the leaf": NOT_READ,
    "half a certificate": NOT_READ,
    "a byte after the certificate": NOT_READ,
    "two certificates in one": NOT_READ,
    "PEM": NOT_READ,
    "an extension twice": NO_PATH,
    "secp256k1": (Reason.TLS_HANDSHAKE, Reason.TLS_HANDSHAKE),  # TLS 1.3 has no signature on that curve
    "an intermediate as the leaf": NO_PATH,
    "no digitalSignature": (Reason.CHAIN_UNTRUSTED, Reason.LEAF_NO_DIGITAL_SIGNATURE),
    "serverAuth alone": (Reason.CHAIN_UNTRUSTED, Reason.LEAF_EXTENDED_KEY_USAGE),
    "clientAuth alone": (Reason.LEAF_EXTENDED_KEY_USAGE, Reason.CHAIN_UNTRUSTED),
    "codeSigning alone": NO_PATH,
    "any extended key usage": NO_PATH,
    "an intermediate that may not sign": (Reason.ISSUER_NOT_CA, Reason.ISSUER_NOT_CA),
    "an unknown trust domain": NO_PATH,
    "a trust domain with an empty bundle": NO_PATH,
}


@dataclass(kw_only=True)
class Agents:
    """An ingress and an egress that trust the world's authorities, and a server for the egress to reach."""

    world: World
    folder: Path
    ingress: Address
    client: Plain
    server: RawServer
    behind: RecordingServer
    heard: list[bytes] = field(default_factory=list)  # what came through to the raw server

    async def connected(self, presented: Presented) -> RawTls:
        async with asyncio.timeout(_PATIENCE):
            return await RawTls.connect(self.ingress.host, self.ingress.port, presented)

    async def asked(self, spiffe_id: str, presented: Presented) -> tuple[int, str]:
        """The status and reason of a call to `spiffe_id`, at whose address `presented` is shown."""
        self.server.presented = presented
        path = f"/{ROUTES[spiffe_id]}/mcp".encode()
        request = call("echo", text="hi")
        answer = await self.client.ask(type(request)(request.method, path, request.headers, request.body))
        return answer.status, "" if answer.status == 200 else answer.reason

    async def server_s_end(self) -> Alert | EOFError | None:
        async with asyncio.timeout(_PATIENCE):
            return await self.server.outcomes.get()

    def last(self, side: str) -> Any:
        return Log(self.folder / f"{side}.jsonl").last()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agents(module_folder: Path) -> AsyncIterator[Agents]:
    world, mesh, site = World(now()), MiniCa("mesh.test", now()), Site(module_folder)
    site.sign_manifest()
    site.write_policy()
    svids = [svid_part(mesh, identity.path) for identity in (SERVER, PLANNER)]
    bundles = {str(one.trust_domain): one.authorities_der for one in world.bundles.bundles}
    heard: list[bytes] = []

    async def answer(peer: RawTls) -> None:
        heard.append(await peer.read())
        await peer.send(RESPONSE)

    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(recording, "HANDSHAKE_RECORDS", 10**6)  # here each of them counts
        api = await stack.enter_async_context(FakeWorkloadApi(module_folder / "api.sock"))
        api.push(message(svids, bundles))
        behind = await stack.enter_async_context(serving_mcp(LIVE))
        server = await stack.enter_async_context(RawServer().serving(answer))
        ingress = await stack.enter_async_context(
            running_agent(admitting_all(site.ingress_config(api.address, behind.url), world))
        )
        egress = await stack.enter_async_context(
            running_agent(routing_to_all(site.egress_config(api.address, f"127.0.0.1:{server.port}")))
        )
        assert isinstance(ingress.ingress, Address)
        assert isinstance(egress.egress, Address)
        client = Plain(egress.egress)
        stack.callback(client.close)
        yield Agents(
            world=world, folder=module_folder, ingress=ingress.ingress, client=client, server=server,
            behind=behind, heard=heard,
        )  # fmt: skip


def admitting_all(config: Path, world: World) -> Path:
    """Whoever proves an ID is admitted: it is the proof that is examined here."""
    document = yaml.safe_load(config.read_text())
    names = {ca.trust_domain for ca in world.trusted} | {"c.test", "revoked.test"}
    document["ingress"]["peers"] = [f"spiffe://{name}/**" for name in sorted(names)]
    config.write_text(yaml.safe_dump(document))
    return config


def routing_to_all(config: Path) -> Path:
    """A route to each ID that a good chain proves, all at one address."""
    document = yaml.safe_load(config.read_text())
    (server,) = document["egress"]["servers"]
    document["egress"]["servers"] = [
        {**server, "name": name, "spiffe_id": spiffe_id} for spiffe_id, name in ROUTES.items()
    ]
    config.write_text(yaml.safe_dump(document))
    return config


# -- the agent is the server --------------------------------------------------------------------------------


@pytest.mark.parametrize(("spiffe_id", "make"), GOOD.values(), ids=GOOD.keys())
async def test_an_ingress_lets_a_client_in_with_a_good_chain(
    agents: Agents, spiffe_id: str, make: Make
) -> None:
    client = await agents.connected(make(agents.world))
    await client.send(NOBODY_S_PATH)
    assert (await client.read()).startswith(b"HTTP/1.1 404 ")
    client.abort()
    record = agents.last("ingress")
    assert (record["reason"], record["peer"]) == (Reason.ROUTE_UNKNOWN.code, spiffe_id)


@pytest.mark.parametrize("name", HOSTILE)
async def test_an_ingress_refuses_a_client_with_a_hostile_chain(agents: Agents, name: str) -> None:
    reason, make = HOSTILE[name]
    with agents.behind.untouched():
        client = await agents.connected(make(agents.world))
        await client.send(NOBODY_S_PATH)
        await client.ends()  # and never an answer
        client.abort()
    record = agents.last("ingress")
    assert (record["kind"], record["decision"]) == ("authentication", "refuse")
    assert record["reason"] == FENCED.get(name, (reason, reason))[0].code
    assert "peer" not in record


# -- the agent is the client --------------------------------------------------------------------------------


@pytest.mark.parametrize(("spiffe_id", "make"), GOOD.values(), ids=GOOD.keys())
async def test_an_egress_calls_a_server_with_a_good_chain(agents: Agents, spiffe_id: str, make: Make) -> None:
    assert await agents.asked(spiffe_id, make(agents.world)) == (200, "")
    assert await agents.server_s_end() is None
    assert agents.heard.pop().startswith(b"POST /")


@pytest.mark.parametrize("name", HOSTILE)
async def test_an_egress_sends_nothing_to_a_server_with_a_hostile_chain(agents: Agents, name: str) -> None:
    reason, make = HOSTILE[name]
    status, told = await agents.asked(ID, make(agents.world))
    assert status in {403, 502, 503}
    assert told == FENCED.get(name, (reason, reason))[1].code
    assert agents.last("planner")["reason"] == told
    assert isinstance(await agents.server_s_end(), (Alert, EOFError))  # it never saw our certificate
    assert not agents.heard


# -- what OpenSSL makes of a chain before we see it ---------------------------------------------------------


async def test_a_certificate_in_ber_is_judged_as_the_der_that_openssl_makes_of_it(agents: Agents) -> None:
    """What is signed keeps its bytes: only the length around it, which no signature covers, is rewritten."""
    client = await agents.connected(BER(agents.world))
    await client.send(NOBODY_S_PATH)
    assert (await client.read()).startswith(b"HTTP/1.1 404 ")
    client.abort()
    assert agents.last("ingress")["peer"] == ID


# -- handshakes that are wrong with a good chain ------------------------------------------------------------


async def refused_at_the_ingress(agents: Agents, client: RawTls) -> str:
    """The reason in the record, once the client has learned that nothing comes."""
    with agents.behind.untouched():
        await client.send(NOBODY_S_PATH)
        await client.ends()
        client.abort()
    return str(agents.last("ingress")["reason"])


async def test_a_client_without_the_key_of_its_certificate_is_refused(agents: Agents) -> None:
    stolen = Presented(agents.world.ca.issue_der().chain, agents.world.ca.issue_der().key)
    assert await refused_at_the_ingress(agents, await agents.connected(stolen)) == Reason.TLS_HANDSHAKE.code


async def test_a_server_without_the_key_of_its_certificate_gets_nothing(agents: Agents) -> None:
    stolen = Presented(agents.world.ca.issue_der().chain, agents.world.ca.issue_der().key)
    assert await agents.asked(ID, stolen) == (403, Reason.TLS_HANDSHAKE.code)
    assert isinstance(await agents.server_s_end(), (Alert, EOFError))
    assert not agents.heard


async def test_a_server_with_a_good_chain_and_the_id_of_another_gets_nothing(agents: Agents) -> None:
    other = agents.world.ca.issue_der("/another")
    assert await agents.asked(ID, other) == (403, Reason.ID_NOT_AUTHORIZED.code)
    assert isinstance(await agents.server_s_end(), (Alert, EOFError))
    assert not agents.heard


async def test_a_fault_in_the_verifier_lets_nobody_in(
    agents: Agents, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(verification, "verify_chain", broken)
    with agents.behind.untouched():
        client = await agents.connected(agents.world.ca.issue_der())
        await client.send(NOBODY_S_PATH)
        await client.ends()
        client.abort()
    assert "a defect of ours" in caplog.text


# -- OpenSSL as the peer ------------------------------------------------------------------------------------


def openssl_client(folder: Path, presented: Presented) -> ssl.SSLContext:
    """A client of the standard library that shows `presented` and believes anybody."""
    pem = folder / "client.pem"
    key = load_der_private_key(presented.key, password=None)
    chain = "".join(map(ssl.DER_cert_to_PEM_cert, presented.chain)).encode()
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.load_cert_chain(pem)
    return made


def exchanged(made: ssl.SSLContext, address: Address, session: ssl.SSLSession | None) -> tuple[Any, bool]:
    """The session after an answer has come, and whether it was resumed. Blocks."""
    with (
        socket.create_connection((address.host, address.port), timeout=_PATIENCE) as plain,
        made.wrap_socket(plain, session=session) as secured,
    ):
        secured.sendall(NOBODY_S_PATH)
        assert secured.recv(1024).startswith(b"HTTP/1.1 404 ")
        return secured.session, bool(secured.session_reused)


async def test_a_client_that_offers_its_last_session_again_has_to_show_its_certificate_again(
    agents: Agents,
) -> None:
    made = openssl_client(agents.folder, agents.world.ca.issue_der())
    session, _ = await asyncio.to_thread(exchanged, made, agents.ingress, None)
    assert not session.has_ticket
    _, resumed = await asyncio.to_thread(exchanged, made, agents.ingress, session)
    assert not resumed


async def test_a_client_of_tls_1_2_is_refused(agents: Agents) -> None:
    made = openssl_client(agents.folder, agents.world.ca.issue_der())
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    with agents.behind.untouched(), pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        await asyncio.to_thread(exchanged, made, agents.ingress, None)
    assert agents.last("ingress")["reason"] == Reason.TLS_HANDSHAKE.code
