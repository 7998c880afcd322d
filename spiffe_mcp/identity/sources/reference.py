"""Which workload is meant when an agent asks for the SVID of another process (SPIFFE Broker API).

Enters: numbers and names that the agent has found out about a caller. Leaves: frozen values that can be keys
of a mapping, one for each workload. How they look on the wire is `broker`'s affair. Pure: no I/O, no clock.
"""

import re
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from spiffe_mcp.errors import Reason, Refused

_MAX_PID: Final = 2**31 - 1  # int32 on the wire; Linux itself stops at 2^22
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")  # RFC 1123 subdomain


@dataclass(frozen=True, slots=True)
class PidReference:
    """A process, by its number in the SPIFFE agent's PID namespace.

    A number is given to another process once this one is gone: whoever holds a reference also holds a pidfd,
    and forgets both together.
    """

    pid: int

    def __post_init__(self) -> None:
        if not 1 <= self.pid <= _MAX_PID:  # 0: the kernel's way to say that the process is in no view of ours
            raise Refused(Reason.WORKLOAD_REFERENCE, f"pid {self.pid}")

    def __str__(self) -> str:
        return f"pid {self.pid}"


@dataclass(frozen=True, slots=True)
class KubernetesReference:
    """A Kubernetes object, a pod by default: by its UID, by its name, or by both, which have to agree.

    A name is given again, a UID never is. Whoever asks by name alone has said which SVID is wanted.
    """

    uid: str = ""
    namespace: str = ""
    name: str = ""
    plural: str = "pods"
    group: str = "core"  # what the standard calls the group that has no name

    def __post_init__(self) -> None:
        names = [name for name in (self.namespace, self.name) if name]
        good = (
            all(map(_NAME.fullmatch, (self.plural, self.group, *names)))
            and (self.uid == "" or _is_uid(self.uid))
            and (self.name or not self.namespace)
            and (self.name or self.uid)
        )
        if not good:
            raise Refused(Reason.WORKLOAD_REFERENCE, ascii(str(self)[:200]))

    def __str__(self) -> str:
        where = "/".join(name for name in (self.namespace, self.name) if name)
        return " ".join(part for part in (self.plural, where, self.uid) if part)


Reference: TypeAlias = PidReference | KubernetesReference


def _is_uid(text: str) -> bool:
    """Whether `text` is a UUID in the one form that Kubernetes gives out."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
