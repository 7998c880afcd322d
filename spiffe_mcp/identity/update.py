"""What an update from a Workload API makes of the identity that we have.

Enters: the parts of one message, untrusted; the state before; the time. Leaves: the state after, and a
`PartRefused` for each part that breaks a rule. A bad part never takes the good ones down with it, and never
replaces the last good one: a federated partner cannot disturb our own identity. Pure: no I/O, no clock.

 (1) The SVID is the one that is wanted: the first, or by ID or hint (5.2.1). Not offered means withdrawn.
 (2) The SVID and the bundle of its trust domain are read; for a bad one, the last good one stands in.
 (3) That bundle has to verify that SVID at this time: the two are taken together, or the last two are kept.
 (4) Every other bundle is read for itself. One that is no longer sent is dropped (4.4); an empty one is kept,
     and nobody of that trust domain is trusted any more.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ParamSpec, TypeVar

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.bundle import Bundle, BundleSet
from spiffe_mcp.identity.spiffe_id import TrustDomain
from spiffe_mcp.identity.state import IdentityState
from spiffe_mcp.identity.svid import X509Svid
from spiffe_mcp.identity.verify import verify_chain
from spiffe_mcp.identity.wanted import Wanted

_Args = ParamSpec("_Args")
_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class SvidPart:
    """One SVID of a message, as it came: an ID, concatenated DER, PKCS#8, concatenated DER."""

    spiffe_id: str
    chain: bytes
    key: bytes = field(repr=False)
    bundle: bytes
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Update:
    """One message: every SVID that the workload is entitled to, and foreign bundles by trust domain."""

    svids: tuple[SvidPart, ...]
    federated: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartRefused:
    """A part of an update broke a rule and was left out; the last good one is kept, if there is one."""

    part: str
    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.part}: {self.reason.code}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Applied:
    """The state after an update (None: still no identity), and what was refused on the way."""

    state: IdentityState | None
    refused: tuple[PartRefused, ...]
    offered: bool = False  # whether this update's own SVID is the one of the state, and not an earlier one's


def apply(update: Update, last: IdentityState | None, wanted: Wanted, now: datetime) -> Applied:
    """Take what is good of `update`.

    Raises `Refused(SVID_NOT_OFFERED)`: the workload is entitled to others but no longer to this one, and
    SHOULD cease using it (5.2.1).
    """
    reading = _Reading(last, now)
    if not update.svids:  # a mandatory field at its default: SHOULD report and discard the message (4.5)
        reading.refuse("message", Refused(Reason.WORKLOAD_API_INCOMPLETE, "no SVID"))
        return Applied(last, tuple(reading.refused))
    chosen = _chosen(update.svids, wanted)  # (1)
    own = reading.own_pair(chosen)  # (2), (3)
    if own is None:
        return Applied(None, tuple(reading.refused))
    svid, own_bundle = own
    foreign_parts = _foreign_parts(update, chosen, own_bundle.trust_domain)
    foreign = reading.foreign(foreign_parts, own_bundle)  # (4)
    state = IdentityState(svid, BundleSet((own_bundle, *foreign)))
    return Applied(state, tuple(reading.refused), reading.offered)


def _chosen(svids: tuple[SvidPart, ...], wanted: Wanted) -> SvidPart:
    for part in svids:
        if wanted.is_met_by(part.spiffe_id, part.hint):
            return part
    raise Refused(Reason.SVID_NOT_OFFERED, str(wanted))


def _foreign_parts(update: Update, chosen: SvidPart, own: TrustDomain) -> Iterator[tuple[str, bytes]]:
    """Every bundle of the message but the chosen SVID's, and its like beside other SVIDs of our own."""
    for part in update.svids:
        name = part.spiffe_id.removeprefix("spiffe://").partition("/")[0]
        if part is not chosen and name != str(own):
            yield name, part.bundle
    yield from update.federated.items()


class _Reading:
    """The reading of one message: refusals are collected, and the last good part stands in."""

    def __init__(self, last: IdentityState | None, now: datetime) -> None:
        self._last = last
        self._now = now
        self.refused: list[PartRefused] = []
        self.offered = False

    def refuse(self, part: str, refusal: Refused) -> None:
        self.refused.append(PartRefused(part, refusal.reason, refusal.detail))

    def own_pair(self, part: SvidPart) -> tuple[X509Svid, Bundle] | None:
        """The SVID and the bundle of its trust domain: new if they agree, else the last, else None."""
        name = f"svid {part.spiffe_id[:80]!a}"
        read = self._attempt(name, _svid, part)
        svid = read or (self._last.svid if self._last else None)
        if svid is None:
            return None
        trust_domain = svid.spiffe_id.trust_domain
        new = self._attempt(f"bundle {trust_domain}", _own_bundle, trust_domain, part.bundle)
        bundle = new or self._last_bundle(trust_domain)
        bundles = BundleSet((bundle,) if bundle else ())
        if bundle and self._attempt(name, verify_chain, svid.chain_der, bundles, self._now):
            self.offered = read is not None
            return svid, bundle
        return self._last_pair()

    def foreign(self, parts: Iterable[tuple[str, bytes]], own: Bundle) -> list[Bundle]:
        """The bundles of all other trust domains; whoever names one twice is not believed the second time."""
        bundles: dict[TrustDomain, Bundle] = {}
        for name, der in parts:
            part, taken = f"bundle {name[:80]!a}", {own.trust_domain, *bundles}
            trust_domain = self._attempt(part, _new_trust_domain, name, taken)
            if trust_domain is None:
                continue
            bundle = self._attempt(part, Bundle.from_concatenated, trust_domain, der)
            if kept := bundle or self._last_bundle(trust_domain):
                bundles[trust_domain] = kept
        return list(bundles.values())

    def _attempt(
        self, part: str, read: Callable[_Args, _Part], *args: _Args.args, **kwargs: _Args.kwargs
    ) -> _Part | None:
        try:
            return read(*args, **kwargs)
        except Refused as refusal:
            self.refuse(part, refusal)
            return None

    def _last_bundle(self, trust_domain: TrustDomain) -> Bundle | None:
        return self._last.bundles.get(trust_domain) if self._last else None

    def _last_pair(self) -> tuple[X509Svid, Bundle] | None:
        if self._last is None:
            return None
        svid = self._last.svid
        bundle = self._last.bundles.get(svid.spiffe_id.trust_domain)
        return None if bundle is None else (svid, bundle)


def _svid(part: SvidPart) -> X509Svid:
    return X509Svid.from_der(part.chain, part.key, hint=part.hint, expected_id=part.spiffe_id)


def _own_bundle(trust_domain: TrustDomain, der: bytes) -> Bundle:
    if not der:  # mandatory, other than a foreign one (Workload API 4.5, 5.1)
        raise Refused(Reason.BUNDLE_EMPTY, str(trust_domain))
    return Bundle.from_concatenated(trust_domain, der)


def _new_trust_domain(name: str, taken: Collection[TrustDomain]) -> TrustDomain:
    """Keys are trust domain IDs (5.1); the bare name, which some servers send, says the same."""
    trust_domain = TrustDomain(name.removeprefix("spiffe://"))
    if trust_domain in taken:
        raise Refused(Reason.BUNDLE_TWICE, str(trust_domain))
    return trust_domain
