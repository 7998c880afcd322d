"""Certificates for the peers: P-256 keys, one root, two leaves, as the mesh's own SVIDs are shaped.

The leaves have a SPIFFE ID, for peers that read it, and a DNS name, for those that can check no other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

EGRESS_NAME: Final = "egress.bench"
INGRESS_NAME: Final = "ingress.bench"
_LIFE: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files in PEM: the root; of each end its certificate, its key, and both in one."""

    folder: Path

    @property
    def root(self) -> Path:
        """The one authority."""
        return self.folder / "root.pem"

    def certificate(self, name: str) -> Path:
        """The certificate of `name`."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Its key."""
        return self.folder / f"{name}.key"

    def both(self, name: str) -> Path:
        """Certificate and key."""
        return self.folder / f"{name}.pem"

    @staticmethod
    def spiffe_id(name: str) -> str:
        """The SPIFFE ID in the certificate of `name`."""
        return f"spiffe://bench.mesh/{name.partition('.')[0]}"


def issue(folder: Path) -> Credentials:
    """A root and both leaves, in files of `folder`."""
    folder.mkdir(mode=0o700)
    now, made = datetime.now(UTC), Credentials(folder)  # noqa: TID251  a command is a composition root
    authority = ec.generate_private_key(ec.SECP256R1())
    root = _builder("root", "root", authority.public_key(), now)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made.root.write_bytes(root.sign(authority, SHA256()).public_bytes(Encoding.PEM))
    for name in (EGRESS_NAME, INGRESS_NAME):
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _builder(name, "root", key.public_key(), now)
        for extension in _of_leaf(name):
            leaf = leaf.add_extension(extension, critical=False)
        certificate = leaf.sign(authority, SHA256()).public_bytes(Encoding.PEM)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        made.certificate(name).write_bytes(certificate)
        made.key(name).write_bytes(private)
        made.both(name).write_bytes(certificate + private)
    return made


def _of_leaf(name: str) -> Iterator[x509.ExtensionType]:
    uri = x509.UniformResourceIdentifier(Credentials.spiffe_id(name))
    yield x509.SubjectAlternativeName([x509.DNSName(name), uri])
    yield x509.BasicConstraints(ca=False, path_length=None)
    yield x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


def _builder(
    subject: str, issuer: str, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + _LIFE)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
