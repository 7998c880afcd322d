"""User contexts of one small mesh, good ones and forged ones, written without the code under test.

accept(link())                                    # verifies
accept(link(claims={"aud": "spiffe://a.test/x"})) # signed by the planner all the same
accept(link(header={"kid": "1"}), now=later)      # every argument of `verify` can be replaced
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from spiffe_mcp.context.binding import RequestBinding
from spiffe_mcp.context.signers import TrustedSigners
from spiffe_mcp.context.verification import InboundHop, VerifiedContext, verify
from spiffe_mcp.identity.bundle import BundleSet
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.identity.svid import X509Svid
from tests.fakes import mini_ca
from tests.fakes.mini_ca import MiniCa

NOW: Final = mini_ca.NOW + timedelta(minutes=10)  # the certificates have been in use for a while

ABSENT: Final = object()  # as a member's value: leave it out

CA: Final = MiniCa("a.test")
FOREIGN_CA: Final = MiniCa("b.test")
BUNDLES: Final = BundleSet.from_der({"a.test": CA.bundle_der, "b.test": FOREIGN_CA.bundle_der})

PLANNER: Final = CA.issue("/ns/agents/planner")
WEATHER: Final = SpiffeId.parse("spiffe://a.test/ns/tools/weather")
HOP: Final = InboundHop(PLANNER.spiffe_id, PLANNER.chain_der[0], WEATHER)

BODY: Final = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forecast"}}'
BINDING: Final = RequestBinding(
    method="POST",
    uri="https://weather.a.test/mcp",
    body_sha256=sha256(BODY).digest(),
    mcp_method="tools/call",
    mcp_name="forecast",
)
ISSUED_AT: Final = int(NOW.timestamp())


def hop_of(svid: X509Svid) -> InboundHop:
    """The connection on which `svid` was presented."""
    return replace(HOP, peer=svid.spiffe_id, leaf_der=svid.chain_der[0])


def base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def thumbprint(svid: X509Svid) -> str:
    return base64url(sha256(svid.chain_der[0]).digest())


def good_claims(svid: X509Svid = PLANNER) -> dict[str, Any]:
    """What a good link of `svid` says, spelled out."""
    return {
        "iss": str(svid.spiffe_id),
        "aud": str(WEATHER),
        "sub": "alice",
        "sub_iss": "https://idp.a.test",
        "user": {"groups": ["research", "eu"], "role": "analyst", "risk_score": 12.5, "auth_time": ISSUED_AT},
        "act": {"sub": str(svid.spiffe_id)},
        "scope": "tools:call tools:list",
        "txn": "9f1c2a52-6a5f-4b57-8f6c-0f6f1f5d2f10",
        "htm": "POST",
        "htu": "https://weather.a.test/mcp",
        "bh": base64url(sha256(BODY).digest()),
        "mcp": {"method": "tools/call", "name": "forecast"},
        "cnf": {"x5t#S256": thumbprint(svid)},
        "jti": "jti-1",
        "iat": ISSUED_AT,
        "exp": ISSUED_AT + 60,
    }


def good_header(svid: X509Svid = PLANNER) -> dict[str, Any]:
    """The JOSE header of a good link of `svid`."""
    x5c = [base64.b64encode(certificate).decode() for certificate in svid.chain_der]
    return {"alg": algorithm(svid), "typ": "mesh-uctx+jwt", "x5c": x5c}


def algorithm(svid: X509Svid) -> str:
    if isinstance(svid.key, rsa.RSAPrivateKey):
        return "PS256"
    return {256: "ES256", 384: "ES384"}[svid.key.curve.key_size]


def link(
    svid: X509Svid = PLANNER,
    *,
    claims: Mapping[str, Any] | None = None,
    header: Mapping[str, Any] | None = None,
) -> str:
    """A link that `svid` signed: good, but for the members that `claims` and `header` replace."""
    said = _replaced(good_claims(svid), claims or {})
    return signed(svid, json.dumps(_replaced(good_header(svid), header or {})), json.dumps(said))


def user(**attributes: Any) -> str:
    """A good link of the planner, with other attributes of the user."""
    return link(claims={"user": attributes})


def signed(svid: X509Svid, header: str, claims: str) -> str:
    """A link of these two documents, whatever they say, that `svid` signed."""
    signing_input = f"{base64url(header.encode())}.{base64url(claims.encode())}"
    return f"{signing_input}.{base64url(signature(svid, signing_input.encode()))}"


def signature(svid: X509Svid, data: bytes) -> bytes:
    if isinstance(svid.key, rsa.RSAPrivateKey):
        return svid.key.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    bits = svid.key.curve.key_size
    digest = {256: hashes.SHA256(), 384: hashes.SHA384()}[bits]
    r, s = decode_dss_signature(svid.key.sign(data, ec.ECDSA(digest)))
    return r.to_bytes(bits // 8, "big") + s.to_bytes(bits // 8, "big")


def accept(header: str | bytes, **arguments: Any) -> VerifiedContext:
    """Verify `header` as the weather server's ingress would for the planner, unless `arguments` differ.

    As an ingress that meets its signer for the first time, unless `signers` are given.
    """
    signers = TrustedSigners(arguments.pop("bundles", BUNDLES))
    expected = {"hop": HOP, "binding": BINDING, "signers": signers, "now": NOW}
    return verify(header, **{**expected, **arguments})


def after(seconds: float) -> dict[str, Any]:
    """The argument `now` of somebody who looks that much later."""
    return {"now": NOW + timedelta(seconds=seconds)}


def _replaced(good: dict[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**good, **members}.items() if value is not ABSENT}
