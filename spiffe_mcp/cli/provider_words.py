"""What the words of `spiffe-mcp dev provider` mean: options in, entries, relationships and an endpoint out.

A relationship has all three of its parameters on the command line, and none is guessed (SPIFFE Federation
section 7.2). Raises `typer.BadParameter` for words that make no sense together, and the `Refused` of whatever
value they do not spell.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from pathlib import Path

import typer

from spiffe_mcp.dev.federation import (
    EndpointUrl,
    FederatesWith,
    HttpsSpiffe,
    HttpsWeb,
    Profile,
    ShowsCertificate,
    ShowsSvid,
)
from spiffe_mcp.dev.issuance import Entry
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain
from spiffe_mcp.mesh.addresses import Address


class EndpointProfile(Enum):
    """As the standard names them (SPIFFE Federation section 5.2)."""

    HTTPS_SPIFFE = "https_spiffe"
    HTTPS_WEB = "https_web"


def _pairs(option: str, words: Iterable[str] | None) -> dict[str, str]:
    """`NAME=VALUE`, each name once."""
    pairs: dict[str, str] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not value:
            raise typer.BadParameter(f"{option} {word}: not NAME=VALUE")
        if name in pairs:
            raise typer.BadParameter(f"{option}: {name} twice")
        pairs[name] = value
    return pairs


def entries(
    words: Iterable[str], federates_with: Iterable[str] | None, known: Collection[TrustDomain]
) -> list[Entry]:
    """`SPIFFE_ID=UID` each, with the foreign trust domains that `SPIFFE_ID=TRUST_DOMAIN` gives it.

    `known` are those whose bundles are fetched: for any other an entry would wait in vain.
    """
    foreign: dict[SpiffeId, set[TrustDomain]] = {}
    for word in federates_with or ():
        spiffe_id, _, trust_domain = word.partition("=")
        foreign.setdefault(SpiffeId.parse(spiffe_id), set()).add(TrustDomain(trust_domain))
    found = []
    for word in words:
        name, equals, uid = word.partition("=")
        if equals and not (uid.isascii() and uid.isdigit()):
            raise typer.BadParameter(f"--entry {word}: {uid!r} is no uid")
        workload = SpiffeId.parse(name)
        wanted = frozenset(foreign.get(workload, ()))
        found.append(Entry(workload, int(uid) if equals else os.getuid(), federates_with=wanted))
    if unknown := {name for names in foreign.values() for name in names}.difference(known):
        raise typer.BadParameter(f"--federates-with: no --federate {min(unknown)}")
    if strangers := foreign.keys() - {entry.spiffe_id for entry in found}:
        raise typer.BadParameter(f"--federates-with: no entry {min(strangers)}")
    return found


def relationships(
    federate: list[str] | None,
    https_spiffe: list[str] | None,
    bootstrap: list[str] | None,
    https_web: list[str] | None,
) -> tuple[FederatesWith, ...]:
    """Whose bundles are fetched: a URL and one profile for each trust domain."""
    return _matched(_pairs("--federate", federate), _profiles(https_spiffe, bootstrap, https_web))


def _profiles(
    https_spiffe: list[str] | None, bootstrap: list[str] | None, https_web: list[str] | None
) -> dict[str, Profile]:
    """The profile of each trust domain; one for each, for it cannot be inferred (section 7.2)."""
    files = _pairs("--bootstrap", bootstrap)
    profiles: dict[str, Profile] = {
        name: HttpsSpiffe(SpiffeId.parse(endpoint_id), Path(files.pop(name)) if name in files else None)
        for name, endpoint_id in _pairs("--https-spiffe", https_spiffe).items()
    }
    if files:
        raise typer.BadParameter(f"--bootstrap {min(files)}: goes with --https-spiffe")
    for word in https_web or ():
        name, equals, file = word.partition("=")
        if name in profiles:
            raise typer.BadParameter(f"{name}: two profiles")
        profiles[name] = HttpsWeb(Path(file) if equals else None)
    return profiles


def _matched(urls: Mapping[str, str], profiles: Mapping[str, Profile]) -> tuple[FederatesWith, ...]:
    if unmatched := urls.keys() ^ profiles.keys():
        raise typer.BadParameter(
            f"{min(unmatched)}: --federate goes with one of --https-spiffe and --https-web, and they with it"
        )
    return tuple(
        FederatesWith(TrustDomain(name), EndpointUrl.parse(url), profiles[name]) for name, url in urls.items()
    )


def shows(
    own: TrustDomain,
    profile: EndpointProfile,
    endpoint_id: str | None,
    certificate: Path | None,
    key: Path | None,
) -> ShowsSvid | ShowsCertificate:
    """What the endpoint of `own` proves itself with."""
    if profile is EndpointProfile.HTTPS_SPIFFE:
        if certificate is not None or key is not None:
            raise typer.BadParameter("--certificate and --key go with --profile https_web")
        return ShowsSvid.of(own) if endpoint_id is None else ShowsSvid(SpiffeId.parse(endpoint_id))
    if certificate is None or key is None or endpoint_id is not None:
        raise typer.BadParameter("--profile https_web needs --certificate and --key, and no --endpoint-id")
    return ShowsCertificate(certificate, key)


def address(text: str) -> Address:
    """`HOST:PORT`."""
    try:
        return Address.parse(text)
    except ValueError:
        raise typer.BadParameter(f"--bundle-endpoint {text}: not HOST:PORT") from None
