"""`spiffe-mcp dev provider`: a SPIFFE provider of one trust domain, that federates with others.

Enters: words of the command line, which `provider_words` reads. Leaves: a provider that runs, one line of
JSON once it serves, and its bundle in a file for the operators of other trust domains.
"""

import asyncio
import json
import logging
import signal
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer
import uvloop

from spiffe_mcp.cli import provider_words as words
from spiffe_mcp.cli.clock import now
from spiffe_mcp.cli.provider_words import EndpointProfile
from spiffe_mcp.dev.federation import BundleEndpoint, Federation, ShowsSvid
from spiffe_mcp.dev.issuance import Issued
from spiffe_mcp.dev.provider import DEFAULT_SVID_TTL, Provider
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from spiffe_mcp.identity.spiffe_id import TrustDomain

_SVID_TTL: Final = int(DEFAULT_SVID_TTL.total_seconds())
_LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
_PUBLIC: Final = 0o644  # a bundle holds public keys only; others have to be able to read it


_Words: TypeAlias = list[str] | None
_Entries: TypeAlias = Annotated[
    list[str], typer.Option(help="SPIFFE_ID=UID: who is who. Without =UID: the current user.")
]
_FederatesWith: TypeAlias = Annotated[
    _Words, typer.Option(help="SPIFFE_ID=TRUST_DOMAIN: which entry gets which foreign bundle.")
]
_Endpoint: TypeAlias = Annotated[
    str | None, typer.Option(help="HOST:PORT where this trust domain's bundle is served.")
]
_EndpointId: TypeAlias = Annotated[
    str | None, typer.Option(help="https_spiffe: its SPIFFE ID, if not /spiffe/bundle-endpoint.")
]
_Federate: TypeAlias = Annotated[
    _Words, typer.Option(help="TRUST_DOMAIN=URL: whose bundle to fetch, from where.")
]
_HttpsSpiffe: TypeAlias = Annotated[
    _Words, typer.Option(help="TRUST_DOMAIN=SPIFFE_ID: its endpoint proves this ID.")
]
_Bootstrap: TypeAlias = Annotated[
    _Words, typer.Option(help="TRUST_DOMAIN=FILE: its first bundle, which may come later.")
]
_HttpsWeb: TypeAlias = Annotated[
    _Words, typer.Option(help="TRUST_DOMAIN or TRUST_DOMAIN=CA_FILE: its endpoint has a web certificate.")
]
_WriteBundle: TypeAlias = Annotated[
    Path | None, typer.Option(help="Keep this trust domain's newest bundle in this file, for others.")
]


def provider(  # noqa: PLR0913  one argument an option
    *,
    trust_domain: Annotated[str, typer.Option(help="The trust domain to provide, for example a.test.")],
    socket: Annotated[Path, typer.Option(help="Where the Workload API is to be.")],
    entry: _Entries,
    federates_with: _FederatesWith = None,
    svid_ttl: Annotated[int, typer.Option(help="Life of an X.509-SVID, in seconds.")] = _SVID_TTL,
    bundle_endpoint: _Endpoint = None,
    profile: Annotated[
        EndpointProfile, typer.Option(help="How the endpoint proves itself.")
    ] = EndpointProfile.HTTPS_SPIFFE,
    endpoint_id: _EndpointId = None,
    certificate: Annotated[Path | None, typer.Option(help="https_web: its certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="https_web: the certificate's key, PEM.")] = None,
    federate: _Federate = None,
    https_spiffe: _HttpsSpiffe = None,
    bootstrap: _Bootstrap = None,
    https_web: _HttpsWeb = None,
    write_bundle: _WriteBundle = None,
) -> None:
    """Run a SPIFFE provider with a throw-away authority, until it is told to stop (SIGTERM, SIGINT).

    On SIGHUP it reads the bootstrap bundles and asks every bundle endpoint now.

    Once it serves, it prints one line of JSON: where, and under which SPIFFE ID its bundle endpoint is known.
    """
    logging.basicConfig(level="INFO", stream=sys.stderr, format=_LOG_FORMAT)
    own = TrustDomain(trust_domain)
    shows = words.shows(own, profile, endpoint_id, certificate, key)
    endpoint = None if bundle_endpoint is None else BundleEndpoint(words.address(bundle_endpoint), shows)
    relationships = words.relationships(federate, https_spiffe, bootstrap, https_web)
    made = Provider(
        own,
        socket,
        words.entries(entry, federates_with, {each.trust_domain for each in relationships}),
        clock=now,
        svid_ttl=timedelta(seconds=svid_ttl),
        federation=Federation(relationships, endpoint),
    )
    uvloop.run(_serve(made, endpoint, write_bundle))


async def _serve(provider: Provider, endpoint: BundleEndpoint | None, bundle_file: Path | None) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for stop in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stop, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, provider.refresh)
    async with provider, asyncio.TaskGroup() as tasks:
        if bundle_file is not None:
            _write(bundle_file, provider.issued.own)
            keeping = tasks.create_task(_keep_written(bundle_file, provider))
        _announce(provider, endpoint)
        await stopped.wait()
        if bundle_file is not None:
            keeping.cancel()


def _announce(provider: Provider, endpoint: BundleEndpoint | None) -> None:
    ready = {
        "event": "ready",
        "trust_domain": str(provider.issued.own.trust_domain),
        "workload_api": provider.address,
    }
    if endpoint is not None:
        ready["bundle_endpoint"] = f"https://{provider.bundle_endpoint}/"
        if isinstance(endpoint.shows, ShowsSvid):
            ready["endpoint_id"] = str(endpoint.shows.endpoint_id)
    typer.echo(json.dumps(ready))
    sys.stdout.flush()


async def _keep_written(file: Path, provider: Provider) -> None:
    """Write each bundle that differs from the last one."""
    written = provider.issued.own

    def differs(issued: Issued) -> bool:
        return issued.own != written

    while True:
        written = (await provider.until(differs)).own
        _write(file, written)


def _write(file: Path, bundle: SpiffeBundle) -> None:
    """Whole or not at all: whoever reads it never sees half a bundle."""
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as new:
            new.write(bundle.to_json())
        Path(new.name).chmod(_PUBLIC)
        Path(new.name).replace(file)
    except OSError as error:
        raise Refused(Reason.FEDERATION_BUNDLE_FILE, f"{file}: {error.strerror}") from None
