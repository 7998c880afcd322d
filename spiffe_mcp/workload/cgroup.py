"""Which pod a process is in, by its control groups: the text of `/proc/<pid>/cgroup` in, one pod's UID out.

The kubelet puts every container below a control group that carries the UID of its pod, and a container
without privileges cannot leave it. What a container makes below its own group it names as it likes; so a text
that names two pods names none. Exactly one UID, or the process is refused. Pure: no I/O, no clock.

The names of the kubelet, by its two drivers, in either version of control groups (cgroups(7)):

    8:memory:/kubepods/burstable/pod<uid>/<container>                                             cgroupfs
    0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/<container>     systemd

systemd hands every user who is logged in a group of his own, and what he makes below it he names as he likes
too, though he is in no pod: no name counts there.

A prefix stands before them where Kubernetes itself runs in a container; and where the reader has a control
group namespace of its own (the agent in a pod), paths begin with `/..` and what is above the pod may be
missing.
"""

import re
from dataclasses import dataclass
from typing import Final

from spiffe_mcp.errors import Reason, Refused

MAX_BYTES: Final = 64 * 1024  # the deepest path has 4096 bytes, and there are a dozen hierarchies

_LINE: Final = re.compile(r"[0-9]+:[^:]*:(/.*)")  # cgroups(7), "/proc files"
# systemd's slices use `-` for what is above, so the kubelet writes a UID with `_`; an old driver did not.
_UID: Final = r"[0-9a-f]{8}(?P<dash>[-_])(?:[0-9a-f]{4}(?P=dash)){3}[0-9a-f]{12}"
_CGROUPFS: Final = re.compile(rf"pod(?P<uid>{_UID})")
_SYSTEMD: Final = re.compile(rf"(?:[a-z0-9]+-)*kubepods(?:-[a-z]+)?-pod(?P<uid>{_UID})\.slice")
# What would be a pod's group in a form that is not known here: of a static pod, say, whose UID is a hash.
_POD_LIKE: Final = re.compile(r"pod[0-9a-fA-F]{8}.*|.*kubepods.*-pod.*")
# What systemd delegates to a user of the node (systemd.resource-control(5), "Delegate").
_USERS: Final = re.compile(r"user\.slice|user@[0-9]+\.service")


@dataclass(frozen=True, slots=True)
class PodUid:
    """The UID of a pod as the API server spells it: lower case, with dashes."""

    text: str

    def __str__(self) -> str:
        return self.text


def pod_uid(cgroups: bytes) -> PodUid:
    """The one pod that `cgroups` names; raises `Refused`: WORKLOAD_CGROUP, _NO_POD, _SEVERAL_PODS."""
    if len(cgroups) > MAX_BYTES:
        raise Refused(Reason.WORKLOAD_CGROUP, f"more than {MAX_BYTES} bytes")
    found = {uid for line in _lines(cgroups) for uid in _uids(line)}
    if not found:
        raise Refused(Reason.WORKLOAD_NO_POD, "no control group of the process is a pod's")
    if len(found) > 1:
        # One of them may be the work of the container itself, and nothing tells which.
        raise Refused(Reason.WORKLOAD_SEVERAL_PODS, f"control groups of {len(found)} pods")
    return found.pop()


def _lines(cgroups: bytes) -> list[str]:
    try:
        return cgroups.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise Refused(Reason.WORKLOAD_CGROUP, "not UTF-8") from None


def _uids(line: str) -> set[PodUid]:
    """The pods that one hierarchy names."""
    matched = _LINE.fullmatch(line)
    if matched is None:
        raise Refused(Reason.WORKLOAD_CGROUP, f"not a line of /proc/<pid>/cgroup: {line[:200]!a}")
    # containerd with the other driver than the kubelet's writes `<slice>:cri-containerd:<container>`.
    found: set[PodUid] = set()
    of_a_user = False
    for name in re.split("[/:]", matched[1]):
        of_a_user = of_a_user or (not found and _USERS.fullmatch(name) is not None)
        if (uid := _uid(name)) is not None:
            found.add(uid)
    if found and of_a_user:
        raise Refused(Reason.WORKLOAD_CGROUP, "a pod's name below the group of a user of the node")
    return found


def _uid(name: str) -> PodUid | None:
    matched = _CGROUPFS.fullmatch(name) or _SYSTEMD.fullmatch(name)
    if matched is not None:
        return PodUid(matched["uid"].replace("_", "-"))
    if _POD_LIKE.fullmatch(name):
        # Passed over, it would leave the word to a name that the container itself made below it.
        raise Refused(Reason.WORKLOAD_CGROUP, f"a pod's name in a form that is not known: {name[:200]!a}")
    return None
