"""`spiffe-mcp manifest keygen`: a signing key in a file that only its owner reads."""

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from spiffe_mcp.cli.manifest.files import unusable
from spiffe_mcp.manifest.keys import FileSigner


class Algorithm(Enum):
    """The kinds of key that may sign."""

    P256 = "p256"
    ED25519 = "ed25519"


def keygen(
    out: Annotated[Path, typer.Option(help="Where to write the private key (PKCS#8 PEM); must not exist.")],
    algorithm: Annotated[
        Algorithm, typer.Option(help="P-256 is what KMS and HSM hold too.")
    ] = Algorithm.P256,
) -> None:
    """Make a signing key; print its public key, as a trust policy names it."""
    key = ec.generate_private_key(ec.SECP256R1()) if algorithm is Algorithm.P256 else _ed25519()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        # O_EXCL: an existing key is never overwritten. The mode holds from the first byte on.
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
    except OSError as error:
        unusable("--out", f"{out}: {error.strerror}")
    public = FileSigner.from_pem(pem).public_key
    typer.echo(public.pem(), nl=False)
    typer.echo(f"Key ID: {public.key_id}", err=True)


def _ed25519() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()
