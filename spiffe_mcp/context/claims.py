"""Claims read by name and by type, and the rules that every claim's text obeys.

Enters: a JSON object of a verified payload. Leaves: values of the type asked for, or a refusal that names the
claim and never quotes what it held. The set of claims is closed: one that is not understood could be a
restriction, so it is refused, not ignored. Pure; knows no particular claim.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NoReturn, Self

from spiffe_mcp import strict_json
from spiffe_mcp.context import base64url
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId
from spiffe_mcp.strict_json import JsonObject, JsonValue

MAX_TEXT_BYTES: Final = 256
MAX_LIST_ENTRIES: Final = 64
MAX_NUMERIC_DATE: Final = 253_402_300_799  # the last second of the year 9999, where `datetime` ends
SHA256_BYTES: Final = 32

# The claims, in them `user`, in it a list.
_MAX_DEPTH: Final = 3


def loads(document: bytes) -> JsonObject:
    """The object that `document` spells in strict JSON; raises `Refused(CONTEXT_MALFORMED)`."""
    try:
        return strict_json.loads_object(document, max_depth=_MAX_DEPTH)
    except Refused as error:
        # Without its detail, which may quote a key of the sender's choice.
        raise Refused(Reason.CONTEXT_MALFORMED, error.reason.code) from None


def malformed(name: str, rule: str) -> NoReturn:
    """Refuse the claim `name`, which is not what `rule` says."""
    raise Refused(Reason.CONTEXT_CLAIM_MALFORMED, f"{name}: {rule}")


def check_text(name: str, value: str, *, max_bytes: int = MAX_TEXT_BYTES) -> None:
    """Refuse text that is empty, longer than `max_bytes` of UTF-8, or not printable.

    Not printable are control characters, line separators, direction marks and lone surrogates: whatever could
    make a log line or a console say something else than the claim does.
    """
    if not value or not value.isprintable() or len(value.encode()) > max_bytes:
        malformed(name, f"printable text of 1 to {max_bytes} bytes")


def check_texts(name: str, values: tuple[str, ...]) -> None:
    """Refuse a list of more than `MAX_LIST_ENTRIES`, or with an entry that `check_text` refuses."""
    if len(values) > MAX_LIST_ENTRIES:
        malformed(name, f"at most {MAX_LIST_ENTRIES} entries")
    for value in values:
        check_text(name, value)


def check_numeric_date(name: str, value: int) -> None:
    """Refuse seconds since 1970 that no calendar holds (RFC 7519 section 2, NumericDate)."""
    if not 0 <= value <= MAX_NUMERIC_DATE:
        malformed(name, "whole seconds since 1970, up to the year 9999")


def check_sha256(name: str, value: bytes) -> None:
    """Refuse octets that cannot be a SHA-256 digest."""
    if len(value) != SHA256_BYTES:
        malformed(name, "a SHA-256 digest")


@dataclass(frozen=True, slots=True)
class Claims:
    """One object of claims. `path` is what its names are prefixed with in a refusal."""

    members: JsonObject
    path: str = ""

    def refuse_others_than(self, names: Iterable[str]) -> Self:
        """These claims, none of which is outside `names`; raises `Refused(CONTEXT_CLAIM_UNKNOWN)`."""
        if not self.members.keys() <= set(names):
            # Unnamed: the sender chose the name.
            raise Refused(Reason.CONTEXT_CLAIM_UNKNOWN, f"in {self.path or 'the link'}")
        return self

    def text(self, name: str) -> str:
        """The claim `name`, which has to be a string."""
        value = self._required(name)
        return value if isinstance(value, str) else malformed(self._named(name), "a string")

    def optional_text(self, name: str) -> str | None:
        """The claim `name` if it is there. A null is there, and refused."""
        return self.text(name) if name in self.members else None

    def optional_texts(self, name: str) -> tuple[str, ...]:
        """The claim `name`, a list of strings, empty if it is not there."""
        value = self.members.get(name, [])
        if not isinstance(value, list):
            malformed(self._named(name), "a list of strings")
        return tuple(
            entry if isinstance(entry, str) else malformed(self._named(name), "a list of strings")
            for entry in value
        )

    def numeric_date(self, name: str) -> int:
        """The claim `name` in whole seconds. No fractions: two readers could round apart."""
        value = self._required(name)
        # `bool` is an `int` to Python, not to JSON.
        return value if type(value) is int else malformed(self._named(name), "whole seconds")

    def optional_numeric_date(self, name: str) -> int | None:
        """The claim `name` in whole seconds, if it is there."""
        return self.numeric_date(name) if name in self.members else None

    def optional_number(self, name: str) -> float | None:
        """The claim `name`, a number, if it is there."""
        if name not in self.members:
            return None
        value = self.members[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            malformed(self._named(name), "a number")
        return value

    def spiffe_id(self, name: str) -> SpiffeId:
        """The claim `name`, which has to be one SPIFFE ID."""
        try:
            return SpiffeId.parse(self.text(name))
        except Refused as error:
            if error.reason is not Reason.ID_MALFORMED:
                raise
            malformed(self._named(name), "a SPIFFE ID")

    def sha256(self, name: str) -> bytes:
        """The claim `name`, which has to be a SHA-256 digest in base64url."""
        try:
            digest = base64url.decode(self.text(name).encode("ascii", "replace"))
        except Refused as error:
            if error.reason is not Reason.CONTEXT_MALFORMED:
                raise
            malformed(self._named(name), "base64url")
        check_sha256(self._named(name), digest)
        return digest

    def object(self, name: str) -> "Claims":
        """The claim `name`, which has to be an object."""
        value = self._required(name)
        if not isinstance(value, dict):
            malformed(self._named(name), "an object")
        return Claims(value, self._named(name))

    def _required(self, name: str) -> JsonValue:
        if name not in self.members:
            raise Refused(Reason.CONTEXT_CLAIM_MISSING, self._named(name))
        return self.members[name]

    def _named(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name
