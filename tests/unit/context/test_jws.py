"""A link is taken apart strictly, and its payload is for those who verify it."""

import jwt
import pytest

from spiffe_mcp.context import jwa, jws
from spiffe_mcp.context.jws import JoseHeader, Jws
from spiffe_mcp.errors import Reason, Refused
from tests.fakes.links import CA, PLANNER

HEADER = jws.encode_header("ES256", PLANNER.chain_der)
KEY = jwa.verifying_key(PLANNER.key.public_key())
SIBLING = CA.issue("/ns/agents/other")
LINK = jws.sign(HEADER, b'{"sub":"alice"}', PLANNER.key)


def test_what_was_signed_is_what_opens() -> None:
    parsed = Jws.parse(LINK)
    assert jws.read_header(parsed.header) == JoseHeader("ES256", PLANNER.chain_der)
    assert parsed.open(KEY) == b'{"sub":"alice"}'


def test_another_jose_library_reads_it() -> None:
    assert jwt.decode(LINK, KEY, algorithms=["ES256"]) == {"sub": "alice"}
    assert jwt.get_unverified_header(LINK)["typ"] == "mesh-uctx+jwt"


def test_nothing_opens_with_another_key() -> None:
    stranger = jwa.verifying_key(SIBLING.key.public_key())
    with pytest.raises(Refused) as refusal:
        Jws.parse(LINK).open(stranger)
    assert refusal.value.reason is Reason.CONTEXT_SIGNATURE


def test_a_link_without_certificate_is_none() -> None:
    with pytest.raises(Refused) as refusal:
        jws.read_header(jws.encode_header("ES256", ()))
    assert refusal.value.reason is Reason.CONTEXT_CERTIFICATE


def test_neither_payload_nor_signature_is_shown() -> None:
    shown = repr(Jws.parse(LINK))
    assert "alice" not in shown
    assert "signature" not in shown
