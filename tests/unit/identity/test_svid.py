"""An SVID's key, certificate and SPIFFE ID belong together, or there is none."""

from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import X509Svid
from tests.fakes.mini_ca import HOUR, NOW, MiniCa, private_key

CA: Final = MiniCa("a.test")
CHAIN, KEY = CA.issue_der("/w")
ENCRYPTED: Final = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"a password")
)


def pkcs8(kind: str) -> bytes:
    return private_key(kind).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_an_svid_says_what_its_leaf_says(kind: str) -> None:
    svid = CA.subordinate().issue("/ns/x", key_kind=kind, hint="internal", not_before=NOW, lifetime=HOUR)
    assert str(svid.spiffe_id) == "spiffe://a.test/ns/x"
    assert (svid.not_before, svid.not_after, svid.hint) == (NOW, NOW + HOUR, "internal")
    assert len(svid.chain_der) == 2


def test_validity_includes_both_ends() -> None:
    svid = CA.issue(not_before=NOW, lifetime=HOUR)
    assert svid.valid_at(NOW)
    assert svid.valid_at(NOW + HOUR)
    assert not svid.valid_at(NOW - HOUR)
    assert not svid.valid_at(NOW + 2 * HOUR)


def test_the_expected_id_may_agree() -> None:
    svid = X509Svid.from_der(b"".join(CHAIN), KEY, expected_id="spiffe://a.test/w")
    assert svid.chain_der == CHAIN


@pytest.mark.parametrize(
    ("chain", "key", "expected_id", "reason"),
    [
        (b"", KEY, None, Reason.CHAIN_EMPTY),
        (b"garbage", KEY, None, Reason.CERTIFICATE_MALFORMED),
        (CHAIN[0][:-1], KEY, None, Reason.CERTIFICATE_MALFORMED),
        (b"\x30\x03abc", KEY, None, Reason.CERTIFICATE_MALFORMED),
        (CHAIN[0], b"", None, Reason.SVID_KEY_MALFORMED),
        (CHAIN[0], b"garbage", None, Reason.SVID_KEY_MALFORMED),
        (CHAIN[0], KEY[:-1], None, Reason.SVID_KEY_MALFORMED),
        (CHAIN[0], ENCRYPTED, None, Reason.SVID_KEY_MALFORMED),
        (CHAIN[0], pkcs8("ed25519"), None, Reason.SVID_KEY_MALFORMED),
        (CHAIN[0], pkcs8("p256"), None, Reason.SVID_KEY_MISMATCH),
        (CHAIN[0], pkcs8("rsa2048"), None, Reason.SVID_KEY_MISMATCH),
        (CHAIN[0], KEY, "spiffe://a.test/x", Reason.SVID_ID_MISMATCH),
        (CHAIN[0], KEY, "spiffe://a.test/w\n", Reason.SVID_ID_MISMATCH),
        (CHAIN[0], KEY, "", Reason.SVID_ID_MISMATCH),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    chain: bytes, key: bytes, expected_id: str | None, reason: Reason
) -> None:
    with pytest.raises(Refused) as refused:
        X509Svid.from_der(chain, key, expected_id=expected_id)
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    ("deviations", "reason"),
    [
        ({"uris": ()}, Reason.LEAF_NO_URI_SAN),
        ({"uris": ("spiffe://a.test/w", "spiffe://a.test/x")}, Reason.LEAF_SEVERAL_URI_SANS),
        ({"uris": ("spiffe://a.test",)}, Reason.ID_MALFORMED),
        ({"key_kind": "rsa1024"}, Reason.CERTIFICATE_WEAK_KEY),
        ({"key_kind": "secp256k1"}, Reason.CERTIFICATE_WEAK_KEY),
        ({"signature": "sha224"}, Reason.CERTIFICATE_WEAK_SIGNATURE),
    ],
)
def test_a_leaf_that_no_peer_would_take_is_no_svid(deviations: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        CA.issue("/w", **deviations)
    assert refused.value.reason is reason


def test_neither_key_nor_certificate_shows_in_a_log_line() -> None:
    shown = repr(CA.issue())
    assert "key" not in shown.lower()
    assert "x30" not in shown


def test_equal_chains_are_equal_svids() -> None:
    assert X509Svid.from_der(CHAIN[0], KEY) == X509Svid.from_der(CHAIN[0], KEY)
    assert X509Svid.from_der(CHAIN[0], KEY) != CA.issue("/w")
