"""One exchange without a socket: what a client sends, what both sides decide, what goes on, what is recorded.

    sent = Egress().admit(call("get_forecast", city="Oslo"))       # an OutboundCall, signed by the planner
    permit = Ingress().admit(sent.request)                         # a Permit for the weather server
    Ingress().refuses(sent.request)                                # or the reason why there is none

Everything that decides is real: SVIDs of a CA, a manifest that a publisher signed, Rego. The sides run the
phases in the order in which the listeners do, and record what these note.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Any, Final, TypeVar

import pytest

from spiffe_mcp.audit import AuditRecord, Draft, Side, recorded
from spiffe_mcp.context import Delegation, RequestBinding, Signer, User, mint
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.http import Headers, Request
from spiffe_mcp.identity import BundleSet, IdPattern, SpiffeId, X509Svid
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.manifest import FileSigner, LiveView, VerifiedManifest, compare, statement, verify_manifest
from spiffe_mcp.mcp.headers import NAME_KEYS, encode
from spiffe_mcp.mesh import egress, ingress, recording
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.behind import Behind
from spiffe_mcp.mesh.declined import Declined
from spiffe_mcp.mesh.egress import ExchangeIds, OutboundCall, Proved
from spiffe_mcp.mesh.granted import Permit
from spiffe_mcp.mesh.memory import Memory, local_tables
from spiffe_mcp.mesh.routes import EgressRoute, IngressRoute, ServerName
from spiffe_mcp.mesh.snapshot import Snapshot
from spiffe_mcp.mesh.targets import HttpUpstream
from spiffe_mcp.policy import PolicyEngine, RegoPolicy
from spiffe_mcp.strict_json import JsonObject
from spiffe_mcp.tls import Peer, TlsIdentity
from tests.fakes import publisher
from tests.fakes.mini_ca import MiniCa

T = TypeVar("T")

NOW: Final = publisher.NOW
CA: Final = MiniCa("mesh.test", now=NOW)
FOREIGN_CA: Final = MiniCa("b.test", now=NOW)
BUNDLES: Final = BundleSet.from_der({"mesh.test": CA.bundle_der, "b.test": FOREIGN_CA.bundle_der})

PLANNER: Final = CA.issue("/ns/agents/planner")
REVIEWER: Final = CA.issue("/ns/agents/reviewer")
WEATHER: Final = CA.issue(publisher.SERVER.path)

ALICE: Final = User(
    sub="alice", sub_iss="https://idp.mesh.test", groups=("research",), purpose="report", task="t-7"
)
GUEST: Final = User(sub="guest", sub_iss="https://idp.mesh.test")

PUBLISHER: Final = FileSigner.from_pem(publisher.p256_pem())
ENVELOPE: Final = publisher.seal(statement.write(publisher.manifest()), PUBLISHER)
MANIFEST: Final = verify_manifest(ENVELOPE, publisher.policy(publisher=PUBLISHER), publisher.SERVER, NOW)

NAME: Final = ServerName("weather")
EGRESS_ROUTE: Final = EgressRoute(
    NAME, IdPattern.exactly(publisher.SERVER), (Address("node-2.mesh.test", 8443),)
)
UPSTREAM: Final = HttpUpstream(Address("127.0.0.1", 9000), "/api/mcp")
INGRESS_ROUTE: Final = IngressRoute(NAME, UPSTREAM, MANIFEST)

POLICY: Final = RegoPolicy.compile({"mesh.rego": """\
package mcp.authz

default decision := {"allow": false, "rule": "default", "reason": "nothing grants this call"}

decision := {"allow": true, "rule": "protocol", "reason": "part of the protocol"} if {
    input.action in {
        "initialize", "notifications/initialized", "ping", "prompts/get", "resources/read",
        "server/discover", "session/answer", "session/end", "session/listen", "tasks/list", "tools/list",
    }
    input.direction == "client_to_server"
}

decision := {"allow": true, "rule": "questions", "reason": "researchers may be asked"} if {
    input.direction == "server_to_client"
    input.action in {"ping", "sampling/createMessage"}
    is_researcher
}

decision := {"allow": true, "rule": "forecasts", "reason": "researchers may ask for the weather"} if {
    input.tool.name == "get_forecast"
    is_researcher
}

decision := {
    "allow": false, "rule": "alerts", "reason": "no alerts for researchers",
    "visibility": "offered", "message": "Alerts are not part of your subscription.",
} if {
    input.tool.name == "set_alert"
    is_researcher
}

visible_tools contains tool.name if {
    some tool in input.tools
    tool.risk_level == "low"
    is_researcher
}

is_researcher if "research" in input.user.groups
"""})  # fmt: skip


# -- what a client sends ------------------------------------------------------------------------------------

VERSION_HEADER: Final = b"mcp-protocol-version"
LEGACY_HEADER: Final = (VERSION_HEADER, b"2025-11-25")
META: Final[JsonObject] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def post(body: bytes, *headers: tuple[bytes, bytes], target: bytes = NAME.path) -> Request:
    """A POST of these very bytes, with the headers that every client sends."""
    return Request(b"POST", target, (*CLIENT_HEADERS, *headers), body)


CLIENT_HEADERS: Final = (
    (b"host", b"localhost:7070"),
    (b"accept", b"application/json, text/event-stream"),
    (b"content-type", b"application/json"),
)


def message(
    method: str, params: Mapping[str, Any] | None = None, meta: JsonObject = META, **envelope: Any
) -> Request:
    """A modern request, its headers as they have to be."""
    said = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**(params or {}), "_meta": meta}}
    headers = [(VERSION_HEADER, b"2026-07-28"), (b"mcp-method", method.encode())]
    if method in NAME_KEYS:
        headers.append((b"mcp-name", encode(str((params or {})[NAME_KEYS[method]]))))
    return post(json.dumps({**said, **envelope}, ensure_ascii=False).encode(), *headers)


def call(tool: str = "get_forecast", **arguments: Any) -> Request:
    """A modern tool call."""
    return message("tools/call", {"name": tool, "arguments": arguments or {"city": "Oslo"}})


def legacy(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    id: Any = 1,  # noqa: A002  as JSON-RPC calls it
    session: bytes | None = None,
) -> Request:
    """A legacy request; a notification without an ID."""
    said: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    said |= {} if id is None else {"id": id}
    said |= {} if params is None else {"params": params}
    return in_session(post(json.dumps(said).encode(), LEGACY_HEADER), session)


def answering(message_id: Any, session: bytes | None = None, *headers: tuple[bytes, bytes]) -> Request:
    """A client's answer to what a server asked."""
    body = {"jsonrpc": "2.0", "id": message_id, "result": {"role": "assistant"}}
    return in_session(post(json.dumps(body).encode(), *(headers or (LEGACY_HEADER,))), session)


def listening(session: bytes | None, after: bytes | None = None, *headers: tuple[bytes, bytes]) -> Request:
    """What opens a stream of a legacy session, or goes on with one."""
    last = () if after is None else ((b"last-event-id", after),)
    kept = (CLIENT_HEADERS[0], (b"accept", b"text/event-stream"), *(headers or (LEGACY_HEADER,)), *last)
    return in_session(Request(b"GET", NAME.path, kept, b""), session)


def in_session(request: Request, session: bytes | None) -> Request:
    """`request` as one of `session`."""
    return request if session is None else with_headers(request, (b"mcp-session-id", session))


def delete(session: bytes | None = None, body: bytes = b"") -> Request:
    """What ends a legacy session."""
    named = () if session is None else ((b"mcp-session-id", session),)
    return Request(b"DELETE", NAME.path, (*CLIENT_HEADERS, *named), body)


def with_headers(request: Request, *headers: tuple[bytes, bytes]) -> Request:
    """`request` with more headers."""
    return replace(request, headers=(*request.headers, *headers))


def without(request: Request, name: bytes) -> Request:
    """`request` without the header `name`."""
    return replace(request, headers=tuple(pair for pair in request.headers if pair[0] != name))


def header(headers: Headers, name: bytes) -> bytes:
    """The one value of the header `name`."""
    (value,) = (value for key, value in headers if key == name)
    return value


# -- the two sides ------------------------------------------------------------------------------------------


def snapshot(svid: X509Svid, bundles: BundleSet = BUNDLES) -> Snapshot:
    """The mesh as the agent of `svid` sees it."""
    state = IdentityState(svid, bundles)
    return Snapshot.of(state, TlsIdentity(state, lambda: NOW))


def peer(svid: X509Svid) -> Peer:
    """Who a handshake with `svid` proves to be there."""
    return Peer(svid.spiffe_id, svid.chain_der, svid.not_after)


def refused_by(decide: Callable[[], object]) -> Refused:
    """The refusal that `decide` ends in."""
    with pytest.raises(Refused) as caught:
        decide()
    return caught.value


@dataclass
class Memorised:
    """An audit log in memory."""

    records: list[AuditRecord] = field(default_factory=list)

    def ensure_writable(self) -> None: ...

    def append(self, record: AuditRecord) -> None:
        self.records.append(record)

    @property
    def last(self) -> JsonObject:
        return self.records[-1].document()


_numbers: Final = count(1)


@dataclass
class Egress:
    """The side of the planner, or of whoever else `svid` is, on a hop to `server`."""

    svid: X509Svid = PLANNER
    user: User = ALICE
    route: EgressRoute = EGRESS_ROUTE
    server: SpiffeId = publisher.SERVER
    log: Memorised = field(default_factory=Memorised)

    def admit(self, request: Request, now: datetime = NOW) -> OutboundCall:
        """What goes out, and its record."""
        with recorded(self.log, recording.draft(Side.EGRESS, now)) as record:
            admitted = self._admit(request, record, now)
            record.complete()
            return admitted

    def _admit(self, request: Request, record: Draft, now: datetime) -> OutboundCall:
        call = egress.read(request)
        recording.note_outbound(record, call, self.route, self.user, frozenset())
        admitted = egress.admit(
            request,
            call,
            route=self.route,
            proved=Proved(self.server, EGRESS_ROUTE.addresses[0]),
            user=self.user,
            snapshot=snapshot(self.svid),
            ids=ExchangeIds(txn="txn-1", jti=f"jti-{next(_numbers)}"),
            now=now,
        )
        recording.note_sent(record, admitted)
        return admitted

    def refuses(self, request: Request) -> Reason:
        """Why `request` does not go out."""
        return refused_by(lambda: self.admit(request)).reason


@dataclass
class Ingress:
    """The side of the weather server. Replace what a test wants to be different."""

    manifest: VerifiedManifest = MANIFEST
    live: LiveView = field(
        default_factory=lambda: compare(MANIFEST.manifest, publisher.tools(), protocol_version="2025-11-25")
    )
    policy: PolicyEngine = POLICY
    snapshot: Snapshot = field(default_factory=lambda: snapshot(WEATHER))
    memory: Memory = field(default_factory=lambda: Memory.of("test", "weather", local_tables))
    log: Memorised = field(default_factory=Memorised)
    shown: frozenset[str] = frozenset()
    environment: str = "test"

    def admit(self, request: Request, *, of: X509Svid = PLANNER, now: datetime = NOW) -> Permit:
        """The permit for what came on a hop `of` this peer, and its record."""
        with recorded(self.log, recording.draft(Side.INGRESS, now)) as record:
            permit = self._admit(request, peer(of), record, now)
            record.complete()
            return permit

    def _admit(self, request: Request, peer: Peer, record: Draft, now: datetime) -> Permit:
        inbound = ingress.read(request)
        recording.note_inbound(record, inbound, self.shown)
        authenticated = ingress.authenticate(
            inbound, peer=peer, snapshot=self.snapshot, memory=self.memory, now=now
        )
        recording.note_authenticated(record, authenticated)
        selected = ingress.select(authenticated, manifest=self.manifest, live=self.live, now=now)
        recording.note_selected(record, selected)
        decided = ingress.decide(selected, policy=self.policy, environment="test", now=now)
        recording.note_decided(record, decided, self.policy)
        return ingress.permit(decided, INGRESS_ROUTE)

    def behind(
        self,
        observe: Callable[[LiveView], None] = lambda _: None,
        decline: Callable[[Declined], None] = lambda _: None,
        changed: Callable[[], None] = lambda: None,
        now: datetime = NOW,
    ) -> Behind:
        """What answers are judged by here."""
        return Behind(self.memory, lambda: self, lambda: now, observe, decline, changed)

    def refused(self, request: Request, **how: Any) -> Refused:
        """The refusal of `request`."""
        return refused_by(lambda: self.admit(request, **how))

    def refuses(self, request: Request, **how: Any) -> Reason:
        """Why `request` is not permitted."""
        return self.refused(request, **how).reason


def crossed(request: Request, user: User = ALICE) -> Request:
    """`request` as it comes off the hop."""
    return Egress(user=user).admit(request).request


def vouched(
    request: Request,
    *,
    svid: X509Svid = PLANNER,
    caller: SpiffeId | None = None,
    audience: SpiffeId = publisher.SERVER,
    jti: str = "",
    now: datetime = NOW,
    ttl: timedelta = timedelta(seconds=60),
    **binding: Any,
) -> Request:
    """`request` with a context that differs from the honest one in what is given. `binding`: its fields."""
    bare = replace(request, headers=((b"host", b"node-2.mesh.test:8443"), *request.headers[1:]))
    said = json.loads(request.body or b"{}")
    params = said.get("params", {})
    honest = {
        "method": bare.method.decode(),
        "uri": "https://node-2.mesh.test:8443/weather/mcp",
        "body_sha256": sha256(bare.body).digest(),
        "mcp_method": said.get("method"),
        "mcp_name": params.get("name", params.get("uri")),
    }
    context = mint(
        Delegation(user=ALICE, caller=caller or svid.spiffe_id, scope=(), txn="txn-1"),
        signer=Signer.of(svid),
        audience=audience,
        binding=RequestBinding(**{**honest, **binding}),
        jti=jti or f"jti-{next(_numbers)}",
        now=now,
        ttl=ttl,
    )
    return with_headers(bare, (b"mesh-user-context", context.encode()))
