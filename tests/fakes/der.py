"""DER taken apart and put together again, for tests that need certificates no library would write.

    tree = parse(certificate)                  # TBSCertificate, algorithm, signature
    tree.at(0, 6).become(parse(another_key))   # its SubjectPublicKeyInfo
    hostile = tree.encode()                    # every length above it is right again

Only what is constructed by its tag is taken apart; an OCTET STRING or BIT STRING stays whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

_CONSTRUCTED = 0x20


@dataclass
class Tlv:
    """One value: a tag byte, and either its content or the values inside."""

    tag: int
    content: bytes = b""
    inside: list["Tlv"] = field(default_factory=list)

    def encode(self) -> bytes:
        body = b"".join(one.encode() for one in self.inside) or self.content
        return bytes([self.tag]) + _length(len(body)) + body

    def at(self, *places: int) -> "Tlv":
        """The value at these places, one for each level down."""
        node = self
        for place in places:
            node = node.inside[place]
        return node

    def become(self, other: "Tlv") -> None:
        """Be a copy of `other` from now on."""
        copied = other.copy()
        self.tag, self.content, self.inside = copied.tag, copied.content, copied.inside

    def copy(self) -> Self:
        return type(self)(self.tag, self.content, [one.copy() for one in self.inside])

    def walk(self) -> Iterator["Tlv"]:
        """This value and all below it, outermost first."""
        yield self
        for one in self.inside:
            yield from one.walk()


def parse(der: bytes) -> Tlv:
    """The one value that `der` is; only for certificates that a library wrote."""
    (node,) = _values(der)
    return node


def _values(data: bytes) -> list[Tlv]:
    values = []
    while data:
        tag, (content, data) = data[0], _content(data)
        if tag & _CONSTRUCTED:
            values.append(Tlv(tag, b"", _values(content)))
        else:
            values.append(Tlv(tag, content))
    return values


def _content(data: bytes) -> tuple[bytes, bytes]:
    """The content of the first value, and what follows it."""
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    return data[start : start + length], data[start + length :]


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(digits)]) + digits
