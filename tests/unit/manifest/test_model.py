"""Manifests whose parts do not fit cannot be built."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.canonical import digest
from spiffe_mcp.manifest.model import Manifest, Previous, RiskLevel, SignedTool, toolset_digest
from tests.fakes.publisher import ISSUED, manifest, tools


def named(*names: str) -> dict[str, SignedTool]:
    """Tools of these names, in this order."""
    return {
        name: SignedTool(
            {"name": name, "inputSchema": {"type": "object"}}, RiskLevel.LOW, requires_approval=False
        )
        for name in names
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda good: replace(good, serial=0), Reason.MANIFEST_SERIAL),
        (lambda good: replace(good, serial=2**53), Reason.MANIFEST_SERIAL),
        (lambda good: replace(good, previous=Previous(42, "0" * 64)), Reason.MANIFEST_PREVIOUS),
        (lambda good: replace(good, previous=Previous(0, "0" * 64)), Reason.MANIFEST_PREVIOUS),
        (lambda good: replace(good, expires_at=ISSUED), Reason.MANIFEST_TIME_ORDER),
        (lambda good: replace(good, expires_at=ISSUED - timedelta(days=1)), Reason.MANIFEST_TIME_ORDER),
        (lambda good: replace(good, tools={}), Reason.MANIFEST_TOOL_COUNT),
        (
            lambda good: replace(good, tools=named(*(f"t{n:04}" for n in range(513)))),
            Reason.MANIFEST_TOOL_COUNT,
        ),
        (lambda good: replace(good, tools=named("b", "a")), Reason.MANIFEST_TOOL_ORDER),
        (lambda good: replace(good, tools=named("Get", "get")), Reason.MANIFEST_TOOL_TWIN),
        (lambda good: replace(good, tools=named("get-it", "get_it")), Reason.MANIFEST_TOOL_TWIN),
        (lambda good: replace(good, tools=named("getIt", "get_it")), Reason.MANIFEST_TOOL_TWIN),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: Callable[[Manifest], Manifest], reason: Reason) -> None:
    with pytest.raises(Refused) as refusal:
        change(manifest())

    assert refusal.value.reason is reason


def test_a_tool_has_the_name_and_digest_of_its_definition() -> None:
    tool = SignedTool(tools()[0], RiskLevel.LOW, requires_approval=False)

    assert (tool.name, tool.digest) == ("get_forecast", digest(tools()[0]))


def test_a_tool_whose_definition_may_not_be_signed_cannot_be_built() -> None:
    with pytest.raises(Refused) as refusal:
        SignedTool({**tools()[0], "description": "a\u200b"}, RiskLevel.LOW, requires_approval=False)

    assert (refusal.value.reason, refusal.value.detail) == (
        Reason.MANIFEST_TEXT,
        "tool 'get_forecast'.description: U+200B",
    )


def test_a_tool_holds_arguments_to_its_signed_schema() -> None:
    tool = SignedTool(tools()[0], RiskLevel.LOW, requires_approval=False)
    tool.validate_arguments({"city": "Bern", "days": None, "unit": "C"})

    with pytest.raises(Refused) as refusal:
        tool.validate_arguments({"city": "Bern", "unit": "K"})
    assert refusal.value.reason is Reason.MANIFEST_ARGUMENTS_INVALID


def test_tools_cannot_be_added_to_a_manifest() -> None:
    with pytest.raises(TypeError):
        manifest().tools["x"] = None  # type: ignore[index]  # that it cannot is what is tested


def test_risk_is_ordered_by_rank() -> None:
    levels = [RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL]

    for rank, level in enumerate(levels):
        assert [level.exceeds(other) for other in levels] == [other < rank for other in range(4)]


def test_the_toolset_digest_covers_instructions_names_and_digests() -> None:
    good = manifest()
    digests = {
        toolset_digest(good.instructions, good.tools),
        toolset_digest(None, good.tools),
        toolset_digest("", good.tools),
        toolset_digest(good.instructions, named("get_forecast")),
        toolset_digest(good.instructions, named("set_alert")),
    }
    assert len(digests) == 5
