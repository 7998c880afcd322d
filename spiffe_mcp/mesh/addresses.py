"""TCP addresses, as they are written in configurations and in `Host`. Pure."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final, Self
from urllib.parse import urlsplit

# RFC 1123 section 2.1, and the underscore that container networks allow; `Host` and `htu` carry it as it is.
_HOST: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address, `host:port` or `[v6]:port`; ValueError for a host that cannot be resolved."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if ":" in self.host:
            IPv6Address(self.host)
        elif not _HOST.fullmatch(self.host):
            raise ValueError(self.host)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The address that `text` spells; raises ValueError."""
        parts = urlsplit(f"//{text}")
        if parts.netloc != text or parts.hostname is None or parts.port is None or "@" in text:
            raise ValueError(text)
        if text.startswith("[") != (":" in parts.hostname):  # RFC 3986 section 3.2.2: brackets are for IPv6
            raise ValueError(text)
        return cls(parts.hostname, parts.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
