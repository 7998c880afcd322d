"""DER taken apart. The rules on certificates are tested where they are applied: test_verify, test_bundle."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import certificate
from tests.fakes.mini_ca import MiniCa

CHAIN = MiniCa("a.test").subordinate().chain()


def test_concatenated_certificates_are_told_apart() -> None:
    assert certificate.split_der(b"".join(CHAIN)) == CHAIN
    assert certificate.split_der(b"") == ()


@pytest.mark.parametrize(
    "concatenated",
    [
        b"\x30",
        b"\x30\x00",  # an empty sequence is no certificate, and would never end
        b"\x30\x80\x00\x00",  # indefinite length is BER
        b"\x30\x05abcd",
        b"\x30\x82\x01",
        b"\x30\xff" + bytes(200),
        b"\x31\x01a",
        CHAIN[0][:-1],
        CHAIN[0] + b"\n",
        CHAIN[0] + CHAIN[1][:-1],
        b"-----BEGIN CERTIFICATE-----",
    ],
)
def test_lengths_that_do_not_add_up_are_refused(concatenated: bytes) -> None:
    with pytest.raises(Refused) as refused:
        certificate.split_der(concatenated)
    assert refused.value.reason is Reason.CERTIFICATE_MALFORMED
