"""A publisher's side: tool definitions in, a signed manifest out.

Enters: tools as a server lists them, what their publisher says of each, and signers. Leaves: `SignedTool`s
for a `Manifest`, whose payload `statement.write` makes, and the envelope around that payload. A payload is
read with the verifier's own rules before anything is signed: what could not be loaded cannot be signed.

Pure: keys and times are arguments.
"""

from collections.abc import Iterable, Sequence

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest import dsse, statement
from spiffe_mcp.manifest.definition import normalized
from spiffe_mcp.manifest.keys import Signer
from spiffe_mcp.manifest.model import RiskLevel, SignedTool
from spiffe_mcp.strict_json import JsonObject


def reviewed(
    listed: JsonObject,
    risk_level: RiskLevel,
    *,
    requires_approval: bool = False,
    volatile_meta: Iterable[str] = (),
) -> SignedTool:
    """One tool as its server lists it, with its publisher's word on it; raises `Refused` as `SignedTool`."""
    return SignedTool(normalized(listed), risk_level, requires_approval, frozenset(volatile_meta))


def in_order(tools: Iterable[SignedTool]) -> dict[str, SignedTool]:
    """`tools` as a `Manifest` holds them; raises `Refused(MANIFEST_TOOL_ORDER)` for two of one name."""
    ordered = sorted(tools, key=lambda tool: tool.name)
    by_name = {tool.name: tool for tool in ordered}
    if len(by_name) != len(ordered):
        raise Refused(Reason.MANIFEST_TOOL_ORDER, "two tools of one name")
    return by_name


def sign(payload: bytes, signers: Sequence[Signer]) -> bytes:
    """The envelope of `payload` with one signature of each signer (DSSE 1.0, protocol).

    Raises `Refused`: what `statement.read` raises, `MANIFEST_SIGNATURE_COUNT`, and `MANIFEST_KEY` where one
    key would sign twice.
    """
    statement.read(payload)
    if not 1 <= len(signers) <= dsse.MAX_SIGNATURES:
        raise Refused(Reason.MANIFEST_SIGNATURE_COUNT, f"{len(signers)}, not 1 to {dsse.MAX_SIGNATURES}")
    if len({signer.public_key for signer in signers}) != len(signers):
        raise Refused(Reason.MANIFEST_KEY, "one key signs twice")
    message = dsse.pae(statement.PAYLOAD_TYPE, payload)
    signatures = [(signer.public_key.key_id, signer.sign(message)) for signer in signers]
    return dsse.serialize(statement.PAYLOAD_TYPE, payload, signatures)
