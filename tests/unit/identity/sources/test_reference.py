"""References to workloads: parsed once, and equal only if they mean the same."""

from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.sources.reference import KubernetesReference, PidReference

UID = "5c1d7b3e-93a2-4f4e-8f3a-0d7c1b2a9e55"


@pytest.mark.parametrize("pid", [1, 2**22, 2**31 - 1])
def test_a_process_is_a_positive_number(pid: int) -> None:
    assert str(PidReference(pid)) == f"pid {pid}"


@pytest.mark.parametrize("pid", [0, -1, 2**31])
def test_a_process_that_the_kernel_does_not_show_is_refused(pid: int) -> None:
    with pytest.raises(Refused) as refused:
        PidReference(pid)
    assert refused.value.reason is Reason.WORKLOAD_REFERENCE


def test_a_pod_is_its_uid_or_its_name_or_both() -> None:
    assert str(KubernetesReference(UID)) == f"pods {UID}"
    assert str(KubernetesReference(namespace="agents", name="planner-0")) == "pods agents/planner-0"
    assert str(KubernetesReference(UID, "agents", "planner-0")) == f"pods agents/planner-0 {UID}"


BAD: dict[str, dict[str, Any]] = {
    "neither UID nor name": {},
    "neither UID nor name, but a namespace": {"namespace": "agents"},
    "a UID that is none": {"uid": "planner-0"},
    "a UID spelled otherwise": {"uid": UID.upper()},
    "a UID in braces": {"uid": f"{{{UID}}}"},
    "a UID with a line break": {"uid": f"{UID}\n"},
    "the empty group, which the broker refuses": {"uid": UID, "group": ""},
    "no plural": {"uid": UID, "plural": ""},
    "a namespace without a name": {"uid": UID, "namespace": "agents"},
    "a name with a line break": {"uid": UID, "namespace": "agents", "name": "planner\n"},
    "a namespace with a slash": {"uid": UID, "namespace": "a/b", "name": "planner"},
}


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD.keys())
def test_what_kubernetes_does_not_give_out_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        KubernetesReference(**fields)
    assert refused.value.reason is Reason.WORKLOAD_REFERENCE
    assert "\n" not in refused.value.detail


def test_references_are_keys_of_their_workloads() -> None:
    references = {PidReference(1), PidReference(1), PidReference(2), KubernetesReference(UID)}
    assert len(references) == 3
