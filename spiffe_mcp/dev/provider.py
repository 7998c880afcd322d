"""The embedded SPIFFE provider: a Workload API on a Unix socket, with its own throw-away authority.

Enters: a trust domain, a socket path, registration entries, a clock, lifetimes, how to federate. Leaves: a
socket that any SPIFFE client works against and a bundle endpoint, if one is wanted, until the `async with`
block ends; nothing reaches the disk but the sockets. It ties the rooms together (`ca`, `issuance` and
`federation` decide, `workload_api` and `bundle_endpoint` speak, `attested_socket` identifies, `federator`
follows others) and knows nothing of the mesh that uses it.

For development: whoever can read this process's memory (its own user, root) has every identity it issues.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import grpc.aio

from spiffe_mcp.dev import attested_socket, bundle_endpoint, workload_api
from spiffe_mcp.dev.attested_socket import Routes
from spiffe_mcp.dev.ca import DEFAULT_AUTHORITY_TTL, Authorities
from spiffe_mcp.dev.federation import (
    BundleEndpoint,
    FederatesWith,
    Federation,
    ShowsSvid,
    relationships,
)
from spiffe_mcp.dev.federator import Federator
from spiffe_mcp.dev.issuance import Entry, Issued, registrations
from spiffe_mcp.dev.workload_api import Clock
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.feed import Feed
from spiffe_mcp.identity.spiffe_id import TrustDomain
from spiffe_mcp.mesh.addresses import Address

DEFAULT_SVID_TTL: Final = timedelta(minutes=5)
DEFAULT_JWT_SVID_TTL: Final = timedelta(seconds=60)
MIN_SVID_TTL: Final = timedelta(seconds=2)  # a certificate's times are whole seconds

_STOP_GRACE: Final = 2.0  # seconds for open calls to end by themselves
# The clock is looked at, rather than slept towards: suspending a laptop stops a sleep, not the clock.
_WATCH_INTERVAL: Final = 0.5  # seconds


class Provider:
    """A SPIFFE Workload API for the local users that `entries` name; use once, as an async context manager.

    Raises `Refused` when made (DEV_REGISTRATION, DEV_FOREIGN_TRUST_DOMAIN, DEV_LIFETIME,
    FEDERATION_RELATIONSHIP) and when entered (DEV_SOCKET, LISTEN_FAILED, FEDERATION_CERTIFICATE).
    """

    def __init__(
        self,
        trust_domain: TrustDomain,
        socket_path: Path,
        entries: Iterable[Entry],
        *,
        clock: Clock,
        svid_ttl: timedelta = DEFAULT_SVID_TTL,
        jwt_svid_ttl: timedelta = DEFAULT_JWT_SVID_TTL,
        authority_ttl: timedelta = DEFAULT_AUTHORITY_TTL,
        federation: Federation = Federation(),  # noqa: B008  a frozen value
    ) -> None:
        if svid_ttl < MIN_SVID_TTL or jwt_svid_ttl < MIN_SVID_TTL or authority_ttl < 2 * svid_ttl:
            raise Refused(
                Reason.DEV_LIFETIME, "an SVID lives 2 s at least, an authority twice as long as an SVID"
            )
        self._registrations = registrations(trust_domain, entries)
        self._socket_path = socket_path.absolute()
        self._clock = clock
        self._jwt_svid_ttl = jwt_svid_ttl
        self._feed = Feed(self._first_issued(trust_domain, svid_ttl, authority_ttl))
        known = relationships(trust_domain, federation.relationships)
        _check_endpoint(federation.endpoint, self.issued.svids, trust_domain)
        self._federator = Federator(known, self._feed, clock)
        self._endpoint = federation.endpoint
        self._serves_at: Address | None = None
        self._lifetime = self._run()

    @property
    def address(self) -> str:
        """The value for SPIFFE_ENDPOINT_SOCKET (Workload Endpoint section 4)."""
        return f"unix://{self._socket_path}"

    @property
    def issued(self) -> Issued:
        """The authorities and SVIDs of this moment."""
        return self._feed.newest

    @property
    def bundle_endpoint(self) -> Address | None:
        """Where the bundle is served, once it is; at the path `/`."""
        return self._serves_at

    async def until(self, accepts: Callable[[Issued], bool]) -> Issued:
        """The first state, from this moment on, that `accepts` accepts."""
        issued = self.issued
        while not accepts(issued):
            issued = await self._feed.after(issued)
        return issued

    def federate(self, relationship: FederatesWith) -> None:
        """Begin to fetch a foreign bundle; entries that name its trust domain get it once it is there."""
        relationships(self.issued.own.trust_domain, (relationship,))
        self._federator.federate(relationship)

    def defederate(self, trust_domain: TrustDomain) -> None:
        """End the trust in `trust_domain` at once: its bundle is taken back on every open stream."""
        self._federator.end(trust_domain)

    def refresh(self) -> None:
        """Fetch every foreign bundle now, rather than when its hint says so."""
        self._federator.refresh()

    def rotate(self) -> None:
        """Issue every SVID anew and push it to all open streams; happens by itself before half its life."""
        now = self._clock()
        self._feed.publish(self.issued.reissued(self.issued.authorities.renewed(now), now=now))

    def rotate_authority(self) -> None:
        """Add a new authority to the bundles; the next rotation signs with it, and the former stays trusted.

        Two steps, so that no peer meets an SVID before the bundle that verifies it.
        """
        self._feed.publish(self.issued.trusting(self.issued.authorities.prepared(self._clock())))

    def revoke_former_authorities(self) -> None:
        """Sign with the newest authority, take every other out of the bundles, and issue every SVID anew."""
        authorities = self.issued.authorities.activated().revoked()
        self._feed.publish(self.issued.reissued(authorities, now=self._clock()))

    async def __aenter__(self) -> Self:
        await self._lifetime.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._lifetime.__aexit__(kind, error, trace)

    def _first_issued(
        self, trust_domain: TrustDomain, svid_ttl: timedelta, authority_ttl: timedelta
    ) -> Issued:
        now = self._clock()
        authorities = Authorities.create(trust_domain, now=now, ttl=authority_ttl)
        entries = [entry for of_one_user in self._registrations.values() for entry in of_one_user]
        return Issued.issue(entries, authorities, now=now, svid_ttl=svid_ttl)

    @contextlib.asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        with (
            attested_socket.bound(self._socket_path) as listener,
            # Mode 0700: only this user can reach a private socket without passing the attested one.
            tempfile.TemporaryDirectory(prefix="spiffe-mcp-") as private,
        ):
            async with asyncio.TaskGroup() as tasks:
                async with self._serving(Path(private)) as routes, self._serving_bundle():
                    running = [
                        tasks.create_task(self._federator.run()),
                        tasks.create_task(attested_socket.serve(listener, routes)),
                        tasks.create_task(self._keep_fresh()),
                    ]
                    yield
                # Last, so that clients have heard how their calls ended before their connections close.
                for task in running:
                    task.cancel()

    @contextlib.asynccontextmanager
    async def _serving(self, private: Path) -> AsyncIterator[Routes]:
        """One gRPC server for each registered user and one for strangers, each on a socket of its own."""
        routes = Routes({uid: private / str(uid) for uid in self._registrations}, private / "stranger")
        async with contextlib.AsyncExitStack() as servers:
            for uid, entries in self._registrations.items():
                await servers.enter_async_context(self._server(entries, routes.by_uid[uid]))
            await servers.enter_async_context(self._server((), routes.stranger))
            try:
                yield routes
            finally:
                self._feed.close()

    @contextlib.asynccontextmanager
    async def _serving_bundle(self) -> AsyncIterator[None]:
        if self._endpoint is None:
            yield
            return
        async with bundle_endpoint.serving(self._endpoint, self._feed, self._clock) as address:
            self._serves_at = address
            yield

    @contextlib.asynccontextmanager
    async def _server(self, entries: tuple[Entry, ...], path: Path) -> AsyncIterator[None]:
        server = self._bound_server(entries, path)
        await server.start()
        try:
            yield
        finally:
            await server.stop(_STOP_GRACE)

    def _bound_server(self, entries: tuple[Entry, ...], path: Path) -> grpc.aio.Server:
        server = workload_api.server(entries, self._feed, self._clock, self._jwt_svid_ttl)
        server.add_insecure_port(f"unix:{path}")
        path.chmod(0o600)
        return server

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_INTERVAL)
            if self._clock() >= self.issued.renew_at:
                self.rotate()


def _check_endpoint(endpoint: BundleEndpoint | None, entries: Iterable[Entry], own: TrustDomain) -> None:
    """The endpoint has a name of this trust domain, that no workload has."""
    if endpoint is None or not isinstance(endpoint.shows, ShowsSvid):
        return
    endpoint_id = endpoint.shows.endpoint_id
    if endpoint_id.trust_domain != own:
        raise Refused(Reason.DEV_FOREIGN_TRUST_DOMAIN, str(endpoint_id))
    if any(entry.spiffe_id == endpoint_id for entry in entries):
        raise Refused(Reason.DEV_REGISTRATION, f"{endpoint_id} is the bundle endpoint")
