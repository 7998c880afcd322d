"""The `admin` section of the configuration: where the admin endpoint binds, and who may reach it.

Whoever reaches it is not asked who they are. So it is on loopback, unless the file says in so many words that
it is not. Pure.
"""

from dataclasses import dataclass
from ipaddress import ip_address

from spiffe_mcp.config import Section
from spiffe_mcp.mesh.addresses import Address


@dataclass(frozen=True, slots=True)
class AdminConfig:
    """Where the endpoint binds. Raises ValueError for another address than loopback without `on_network`."""

    listen: Address
    on_network: bool = False

    def __post_init__(self) -> None:
        if not (self.on_network or _is_loopback(self.listen.host)):
            raise ValueError(str(self.listen))


def read_admin(section: Section) -> AdminConfig:
    """What the section says; raises `Refused(CONFIG_INVALID)`."""
    listen = section.value("listen", Address.parse, "host:port")
    on_network = section.value(
        "unauthenticated_on_network", _flag, "'true' or 'false'", default=_flag("false")
    )
    try:
        return AdminConfig(listen, on_network=on_network)
    except ValueError:
        section.refuse(
            f"{listen} is no address of loopback, and nobody who reaches this endpoint is asked for a name: "
            "use 127.0.0.1 or [::1], or say 'unauthenticated_on_network: true'"
        )


def _flag(text: str) -> bool:
    """YAML 1.2's two booleans, and none of YAML 1.1's other spellings."""
    if text not in {"true", "false"}:
        raise ValueError(text)
    return text == "true"


def _is_loopback(host: str) -> bool:
    """Whether `host` is an address of loopback. A name, even `localhost`, is whatever a resolver says."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
