"""From control groups to one pod, in every form that kubelets write and in forms that attackers would."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.workload.cgroup import MAX_BYTES, PodUid, pod_uid

UID = "2c48913c-b29f-11e7-9350-020968147796"
OTHER = "72f7f152-440c-66ac-9084-e0fc1d8a910c"
STATIC = "6eb29f8fa4f9f4cd5b0bbd7c9d3a3d23"  # of a pod that the kubelet reads from a file
UNDERSCORES, OTHER_UNDERSCORES = UID.replace("-", "_"), OTHER.replace("-", "_")
CONTAINER = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961"
SLICE = f"kubepods-burstable-pod{UNDERSCORES}.slice"

PODS = {
    "v1, cgroupfs driver": f"8:memory:/kubepods/burstable/pod{UID}/{CONTAINER}",
    "v1, guaranteed": f"8:memory:/kubepods/pod{UID}/{CONTAINER}",
    "v1, a named hierarchy": f"1:name=systemd:/kubepods/besteffort/pod{UID}/{CONTAINER}",
    "v1, several controllers": f"4:cpu,cpuacct:/kubepods/pod{UID}/{CONTAINER}",
    "v1, all hierarchies": "\n".join(f"{n}:c{n}:/kubepods/pod{UID}/{CONTAINER}" for n in range(12)),
    "v1, some hierarchies": f"3:rdma:/\n2:pids:/kubepods/pod{UID}/{CONTAINER}\n1:misc:/\n0::/",
    "v1, systemd driver": f"9:cpu:/kubepods.slice/kubepods-burstable.slice/{SLICE}/docker-{CONTAINER}.scope",
    "v2": f"0::/kubepods.slice/kubepods-burstable.slice/{SLICE}/cri-containerd-{CONTAINER}.scope",
    "v2, guaranteed": f"0::/kubepods.slice/kubepods-pod{UNDERSCORES}.slice/crio-{CONTAINER}.scope",
    "v2, a slice with dashes": f"0::/kubepods.slice/kubepods-besteffort-pod{UID}.slice/{CONTAINER}.scope",
    "v2, cgroupfs driver": f"0::/kubepods/besteffort/pod{UID}/{CONTAINER}",
    "v2, Kubernetes in a container": f"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-{SLICE}/x.scope",
    "v1, Kubernetes in a container": f"5:cpu:/docker/{CONTAINER}/kubepods/pod{UID}/{CONTAINER}",
    "containerd with the other driver": f"6:cpu:/kubepods-pod{UNDERSCORES}.slice:cri-containerd:{CONTAINER}",
    "seen from a namespace of its own": f"0::/../../{SLICE}/cri-containerd-{CONTAINER}.scope",
    "seen from a namespace of its own, v1": f"2:pids:/../pod{UID}/{CONTAINER}",
    "in a group below its container's": f"0::/kubepods.slice/{SLICE}/cri-containerd-{CONTAINER}.scope/init",
    "systemd in a container": f"0::/kubepods.slice/{SLICE}/x.scope/user.slice/user@0.service/init.scope",
    "a removed container": f"0::/kubepods.slice/{SLICE}/cri-containerd-{CONTAINER}.scope (deleted)",
    "the same pod twice": f"0::/kubepods/pod{UID}/{CONTAINER}/kubepods/pod{UID}/{CONTAINER}",
    "the same pod in both spellings": f"2:pids:/kubepods/pod{UID}/x\n0::/{SLICE}/x",
}

NO_PODS = {
    "the root": "0::/",
    "a login": "0::/user.slice/user-1000.slice/session-3.scope",
    "a service": "0::/system.slice/sshd.service",
    "podman": f"0::/machine.slice/libpod-{CONTAINER}.scope/container",
    "podman's own": "0::/user.slice/user-1000.slice/user@1000.service/user.slice/podman-4242.scope",
    "Docker": f"0::/system.slice/docker-{CONTAINER}.scope",
    "only the level of all pods": "0::/kubepods.slice/kubepods-burstable.slice",
    "another container of the reader's own pod": f"0::/../cri-containerd-{CONTAINER}.scope",
    "a UID without its prefix": f"0::/kubepods/{UID}/{CONTAINER}",
    "a pod's name inside another name": f"0::/x-pod{UID}/{CONTAINER}",
    "a pod's slice of something else": f"0::/system-pod{UNDERSCORES}.slice",
    "a pod's name among the controllers": f"4:pod{UID}:/",
}
# A user of the node may make groups below these, and go into them, and is in no pod.
USERS_OWN = {
    "of a login": f"0::/user.slice/user-1000.slice/user@1000.service/pod{UID}",
    "as the kubelet would": f"0::/user.slice/user-1000.slice/user@1000.service/app.slice/kubepods/pod{UID}/x",
    "as systemd would": f"0::/user.slice/user-1000.slice/user@1000.service/{SLICE}/x.scope",
    "of a manager moved elsewhere": f"0::/other.slice/user@1000.service/pod{UID}",
    "seen from a namespace of the reader's": f"0::/../../../user.slice/user-1000.slice/pod{UID}/x",
    "in one hierarchy of two": f"2:pids:/kubepods/pod{UID}/x\n1:name=systemd:/user.slice/pod{UID}",
}

SEVERAL = {
    "nested": f"0::/kubepods/pod{UID}/{CONTAINER}/kubepods/pod{OTHER}/{CONTAINER}",
    "nested, as systemd would": f"0::/{SLICE}/x.scope/kubepods-pod{OTHER_UNDERSCORES}.slice/y.scope",
    "nested, in the other spelling": f"0::/{SLICE}/x.scope/pod{OTHER}/y",
    "in two hierarchies": f"2:pids:/kubepods/pod{UID}/x\n1:cpu:/kubepods/pod{OTHER}/x",
    "in the v1 part and in the v2 part": f"2:pids:/kubepods/pod{UID}/x\n0::/kubepods/pod{OTHER}/x",
    "behind a colon": f"0::/kubepods/pod{UID}/{CONTAINER}/a:pod{OTHER}:b",
}

MALFORMED = {
    "nothing": "",
    "an empty line": f"\n0::/kubepods/pod{UID}/x",
    "a line too many": f"0::/kubepods/pod{UID}/x\n\n",
    "no path": "0::",
    "a path that is not absolute": f"0::kubepods/pod{UID}/x",
    "one colon": f"0:/kubepods/pod{UID}/x",
    "no number": f"::/kubepods/pod{UID}/x",
    "a number that is none": f"-1::/kubepods/pod{UID}/x",
    "blanks": f" 0::/kubepods/pod{UID}/x",
    "a good line and a bad one": f"0::/kubepods/pod{UID}/x\nnonsense",
    "a static pod": f"0::/kubepods/burstable/pod{STATIC}/x",
    "a static pod, and a pod below": f"0::/kubepods/pod{STATIC}/x/pod{UID}/y",
    "a static pod's slice, and a pod below": f"0::/kubepods-pod{STATIC}.slice/pod{UID}/y",
    "upper case": f"0::/kubepods/pod{UID.upper()}/x",
    "dashes and underscores": f"0::/kubepods/pod{UID[:13]}_{UID[14:]}/x",
    "one digit less": f"0::/kubepods/pod{UID[:-1]}/x",
    "one digit more": f"0::/kubepods/pod{UID}0/x",
    "a removed pod": f"0::/kubepods/pod{UID} (deleted)",
    "a slice that is none": f"0::/kubepods.slice/kubepods-burstable-pod{UNDERSCORES}.scope/x",
    "digits of another script": f"0::/kubepods/pod{UID[:-1]}\u0666/x",
}


@pytest.mark.parametrize("text", PODS.values(), ids=PODS)
@pytest.mark.parametrize("ending", ["", "\n"], ids=["no newline", "newline"])
def test_a_pod_is_told_by_its_control_groups(text: str, ending: str) -> None:
    assert pod_uid((text + ending).encode()) == PodUid(UID)


def refusal(cgroups: bytes) -> Reason:
    with pytest.raises(Refused) as refused:
        pod_uid(cgroups)
    return refused.value.reason


@pytest.mark.parametrize("text", NO_PODS.values(), ids=NO_PODS)
def test_a_process_in_no_pod_is_refused(text: str) -> None:
    assert refusal(text.encode()) is Reason.WORKLOAD_NO_POD


@pytest.mark.parametrize("text", SEVERAL.values(), ids=SEVERAL)
def test_a_process_that_seems_to_be_in_two_pods_is_refused(text: str) -> None:
    assert refusal(text.encode()) is Reason.WORKLOAD_SEVERAL_PODS


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_understood_is_refused_and_not_passed_over(text: str) -> None:
    assert refusal(text.encode()) is Reason.WORKLOAD_CGROUP


@pytest.mark.parametrize("text", USERS_OWN.values(), ids=USERS_OWN)
def test_a_user_of_the_node_is_in_no_pod_whatever_its_group_is_called(text: str) -> None:
    assert refusal(text.encode()) is Reason.WORKLOAD_CGROUP


def test_what_is_no_text_is_refused() -> None:
    assert refusal(f"0::/kubepods/pod{UID}/".encode() + b"\xff") is Reason.WORKLOAD_CGROUP


def test_an_endless_text_is_refused() -> None:
    line = f"0::/kubepods/pod{UID}/x\n".encode()
    assert refusal(line * (MAX_BYTES // len(line) + 1)) is Reason.WORKLOAD_CGROUP


def test_a_uid_is_spelled_as_the_api_server_does() -> None:
    assert str(pod_uid(PODS["v2"].encode())) == UID
