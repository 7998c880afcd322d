"""The only way from bytes to a manifest that may be acted on.

Enters: an envelope, the trust policy, the SPIFFE ID of the server that was reached, and `now`. Leaves: a
`VerifiedManifest`, which has no other producer, or a refusal whose reason names the one rule that was broken.

  (1) the envelope is well formed and small                     DSSE 1.0, envelope
  (2) its payload type is in-toto's                             DSSE 1.0, protocol
  (3) a key of the policy signed the payload bytes as received  DSSE 1.0, protocol
  (4) the payload states a manifest, in its canonical form      in-toto Statement v1; `statement`
  (5) it is the manifest of this server                         the peer's SVID
  (6) the policy lets its signers sign each of its tools        `trust`
  (7) it is in force now

Nothing of a payload is parsed before (3). A manifest is accepted whole or not at all.

Pure: no I/O, no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.manifest import dsse, statement
from spiffe_mcp.manifest.canonical import sha256_hex
from spiffe_mcp.manifest.model import Manifest, SignedTool
from spiffe_mcp.manifest.trust import TrustPolicy
from spiffe_mcp.permit import GrantedOnly

CLOCK_SKEW: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class VerifiedManifest(metaclass=GrantedOnly):
    """A manifest, and who vouched for it. `verify_manifest` makes these; there is no other constructor."""

    manifest: Manifest
    sha256: str  # bare hex, over the payload bytes: what the next manifest names as `previous`
    signers: Mapping[str, tuple[str, ...]]  # tool name -> names of the policy's keys that vouch for it

    def check_in_force(self, now: datetime) -> None:
        """Return if in force at `now`; raises `Refused`: `MANIFEST_NOT_YET_VALID`, `MANIFEST_EXPIRED`.

        Verified once, a manifest is used for long: each exchange asks again.
        """
        _check_in_force(self.manifest, now)

    def all_signers(self) -> tuple[str, ...]:
        """The names of every key that vouches for any tool, sorted."""
        return tuple(sorted({name for names in self.signers.values() for name in names}))


def verify_manifest(document: bytes, trust: TrustPolicy, server: SpiffeId, now: datetime) -> VerifiedManifest:
    """The manifest of `server` in the envelope `document`, if `trust` accepts it at `now` (aware).

    Raises `Refused`: `JSON_*`, `ID_MALFORMED` and the `MANIFEST_*` reason of the rule that is broken.
    """
    # (1) The envelope, bounded before anything is decoded.
    envelope = dsse.parse(document)
    # (2) Compared, not interpreted: the type is part of what was signed.
    if envelope.payload_type != statement.PAYLOAD_TYPE:
        raise Refused(Reason.MANIFEST_PAYLOAD_TYPE, ascii(envelope.payload_type[:80]))
    # (3) Over the bytes as received.
    signed_by = _signed_by(envelope, trust)
    # (4) The first look into the payload.
    manifest = statement.read(envelope.payload)
    # (5) A good manifest of another server is no manifest of this one.
    if manifest.server != server:
        raise Refused(Reason.MANIFEST_SERVER_MISMATCH, f"for {manifest.server}, not for {server}")
    # (6) Each tool, by the rule that governs it.
    signers = {name: _vouched(tool, manifest, trust, signed_by) for name, tool in manifest.tools.items()}
    # (7) The one `now` of this exchange.
    _check_in_force(manifest, now)
    return VerifiedManifest.granted(
        manifest=manifest, sha256=sha256_hex(envelope.payload), signers=MappingProxyType(signers)
    )


def _signed_by(envelope: dsse.Envelope, trust: TrustPolicy) -> frozenset[str]:
    """Names of the policy's keys with a signature here. Each key counts once, however often it signed.

    Every key is tried on every signature: `keyid` is the sender's claim and must not choose (DSSE, protocol).
    """
    message = dsse.pae(envelope.payload_type, envelope.payload)
    names = frozenset(
        name
        for name, key in trust.keys.items()
        if any(key.verifies(signature, message) for signature in envelope.signatures)
    )
    if not names:
        raise Refused(Reason.MANIFEST_SIGNATURE, "no signature by a key of the trust policy")
    return names


def _vouched(
    tool: SignedTool, manifest: Manifest, trust: TrustPolicy, signed_by: frozenset[str]
) -> tuple[str, ...]:
    """The signers that the policy accepts for `tool`; refuses unless its rule is met in full."""
    rule = trust.rule_for(manifest.server, tool.name)
    trusted = signed_by & rule.signers
    if not trusted:
        raise Refused(Reason.MANIFEST_SIGNER_NOT_TRUSTED, f"tool {tool.name}")
    if len(trusted) < rule.threshold:
        raise Refused(
            Reason.MANIFEST_THRESHOLD, f"tool {tool.name}: {len(trusted)} of {rule.threshold} signers"
        )
    if tool.risk_level.exceeds(rule.max_risk):
        raise Refused(Reason.MANIFEST_RISK_ABOVE_MAXIMUM, f"tool {tool.name}: {tool.risk_level.value}")
    if manifest.serial < rule.min_serial:
        raise Refused(Reason.MANIFEST_SERIAL_BELOW_MINIMUM, f"{manifest.serial}, at least {rule.min_serial}")
    if manifest.expires_at - manifest.issued_at > rule.max_validity:
        raise Refused(Reason.MANIFEST_VALIDITY_TOO_LONG, f"more than {rule.max_validity.days} days")
    return tuple(sorted(trusted))


def _check_in_force(manifest: Manifest, now: datetime) -> None:
    if now < manifest.issued_at - CLOCK_SKEW:
        raise Refused(Reason.MANIFEST_NOT_YET_VALID, f"issued at {statement.format_time(manifest.issued_at)}")
    # No skew here: leeway would make every manifest live longer than its publisher said.
    if now >= manifest.expires_at:
        raise Refused(Reason.MANIFEST_EXPIRED, f"at {statement.format_time(manifest.expires_at)}")
