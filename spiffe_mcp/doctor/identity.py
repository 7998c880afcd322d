"""What a provider offers, judged: the SVID that is wanted, its validity, the clock, the bundles.

Enters: one unread update, which SVID is wanted, whose trust domains are needed, the time. Leaves: findings,
and the identity that an agent would take from it, if there is one. The judging itself is the agent's own code
(`identity.update`); this module puts it into words. Pure: no I/O, no clock.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from spiffe_mcp.doctor.finding import Check, Finding, error, ok, warning
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.certificate import parse, split_der
from spiffe_mcp.identity.spiffe_id import TrustDomain
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.update import PartRefused, SvidPart, Update, apply
from spiffe_mcp.identity.wanted import Wanted

LATE: Final = 1 / 3  # of its lifetime left: SPIRE renews an SVID at half of it
_SHOWN: Final = 10  # SPIFFE IDs in one sentence
_SYNC: Final = "Synchronise both clocks (timedatectl, chronyc tracking)"


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found, and the identity that is good, or None."""

    findings: tuple[Finding, ...]
    state: IdentityState | None


def judge(update: Update, wanted: Wanted, needed: Collection[TrustDomain], now: datetime) -> Judged:
    """The findings about `update` of a workload that talks to the trust domains `needed`."""
    clock = tuple(_clock(update, now))
    try:
        applied = apply(update, None, wanted, now)
    except Refused:
        return Judged((*clock, _not_offered(update, wanted)), None)
    refused = tuple(_refused(part) for part in applied.refused)
    if applied.state is None:
        return Judged((*clock, *refused), None)
    bundles = tuple(_bundles(applied.state, needed))
    return Judged((*clock, _svid(applied.state, now), *refused, *bundles), applied.state)


# -- the SVID -----------------------------------------------------------------------------------------------


def _svid(state: IdentityState, now: datetime) -> Finding:
    svid = state.svid
    left, lifetime = svid.not_after - now, svid.not_after - svid.not_before
    told = f"{svid.spiffe_id}, valid for another {_span(left)}"
    if left < lifetime * LATE:
        return warning(
            Check.SVID,
            f"{told} of {_span(lifetime)}.",
            "It should have been renewed by now. Does the SPIFFE agent reach its server? See its log: when "
            "the SVID expires, every call is refused.",
        )
    return ok(Check.SVID, f"{told}.")


def _not_offered(update: Update, wanted: Wanted) -> Finding:
    offered = [part.spiffe_id for part in update.svids]
    more = f", and {len(offered) - _SHOWN} more" if len(offered) > _SHOWN else ""
    return error(
        Check.SVID,
        f"{wanted} is not offered. Offered: {', '.join(offered[:_SHOWN])}{more}.",
        "Register an entry for it whose selectors this process meets, or configure one that is offered.",
    )


def _refused(part: PartRefused) -> Finding:
    """A part that broke a rule. Of the SVID that costs everything, of a foreign bundle its trust domain."""
    told = f"The {part.part} is refused: {Refused(part.reason, part.detail)}."
    if part.part.startswith("bundle"):
        return error(
            Check.BUNDLE, told, "Nobody of that trust domain is trusted. Correct it at the provider."
        )
    if part.reason is Reason.CERTIFICATE_EXPIRED:
        return error(
            Check.SVID,
            told,
            "The provider hands out what has expired: it does not reach its server (see its log), or this "
            "machine's clock is ahead.",
        )
    if part.reason is Reason.CERTIFICATE_NOT_YET_VALID:
        return error(Check.SVID, told, f"This machine's clock is behind the provider's. {_SYNC}.")
    if part.reason is Reason.WORKLOAD_API_INCOMPLETE:
        return error(Check.SVID, "The provider offers no SVID.", "Register an entry for this workload.")
    return error(Check.SVID, told, "The provider's own SVID breaks a rule of SPIFFE. Correct it there.")


# -- bundles ------------------------------------------------------------------------------------------------


def _bundles(state: IdentityState, needed: Collection[TrustDomain]) -> Iterator[Finding]:
    own = state.svid.spiffe_id.trust_domain
    for trust_domain in sorted({own, *needed}):
        yield _bundle(trust_domain, state)


def _bundle(trust_domain: TrustDomain, state: IdentityState) -> Finding:
    bundle = state.bundles.get(trust_domain)
    if bundle is None:
        return error(
            Check.BUNDLE,
            f"There is no bundle for {trust_domain}, whose workloads the configuration names.",
            f"Federate with {trust_domain}, and let this workload's entry federate with it "
            f"('-federatesWith spiffe://{trust_domain}').",
        )
    if not bundle.anchors:
        return error(
            Check.BUNDLE,
            f"The bundle of {trust_domain} is empty: nobody there is trusted.",
            f"All of its authorities were revoked, or its bundle endpoint is empty: ask {trust_domain}.",
        )
    return ok(Check.BUNDLE, f"{trust_domain}: {_authorities(len(bundle.anchors))}.")


def _authorities(count: int) -> str:
    return "1 authority" if count == 1 else f"{count} authorities"


# -- the clock ----------------------------------------------------------------------------------------------


def _clock(update: Update, now: datetime) -> Iterator[Finding]:
    """What is issued begins in the past, for providers date it back; if it does not, we are behind."""
    issued = [beginning for part in update.svids for beginning in _beginnings(part)]
    if not issued:
        return
    latest = max(issued)
    if latest > now:
        yield error(
            Check.CLOCK,
            f"This machine's clock says {now:%Y-%m-%d %H:%M:%S} UTC, {_span(latest - now)} or more behind "
            "the provider, which has issued a certificate that begins later.",
            f"{_SYNC}.",
        )
    else:
        yield ok(
            Check.CLOCK, f"Not behind the provider, whose latest certificate is {_span(now - latest)} old."
        )


def _beginnings(part: SvidPart) -> Iterator[datetime]:
    """When each certificate of the part begins to be valid; none, of one that cannot be read."""
    try:
        for der in split_der(part.chain):
            yield parse(der).not_valid_before_utc
    except Refused:  # said by `apply`, with more words
        return


def _span(time: timedelta) -> str:
    """A length of time as a person says it, with one unit or two."""
    seconds = int(time.total_seconds())
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    for place, (unit, length) in enumerate(units):
        if seconds >= length:
            whole, rest = divmod(seconds, length)
            smaller, size = units[min(place + 1, len(units) - 1)]
            return f"{whole} {unit} {rest // size} {smaller}" if rest // size else f"{whole} {unit}"
    return "0 s"
