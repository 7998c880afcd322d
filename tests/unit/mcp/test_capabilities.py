"""What a client declares is read to the letter, and nothing is taken for declared that is not."""

from typing import Any

import pytest

from spiffe_mcp.mcp.capabilities import Capability, declared

NOTHING = Capability(0)
FORMS = Capability.ELICITATION
BOTH_MODES = Capability.ELICITATION | Capability.ELICITATION_URL


@pytest.mark.parametrize(
    ("capabilities", "found"),
    [
        ({}, NOTHING),
        ({"sampling": {}}, Capability.SAMPLING),
        ({"sampling": {"tools": {}}}, Capability.SAMPLING | Capability.SAMPLING_TOOLS),
        ({"roots": {"listChanged": True}}, Capability.ROOTS),
        ({"extensions": {"io.modelcontextprotocol/tasks": {}}}, Capability.TASKS),
        ({"extensions": {"io.modelcontextprotocol/ui": {}}}, NOTHING),
        ({"elicitation": {}}, FORMS),
        ({"elicitation": {"form": {}}}, FORMS),
        ({"elicitation": {"url": {}}}, Capability.ELICITATION_URL),
        ({"elicitation": {"form": {}, "url": {}}}, BOTH_MODES),
    ],
)
def test_what_is_declared(capabilities: dict[str, Any], found: Capability) -> None:
    assert declared(capabilities) == found


@pytest.mark.parametrize(
    "capabilities",
    [
        {"sampling": None},
        {"sampling": True},
        {"Sampling": {}},
        {"elicitation": []},
        {"elicitation": {"voice": {}}},
        {"roots": "yes"},
        {"extensions": ["io.modelcontextprotocol/tasks"]},
        {"extensions": {"io.modelcontextprotocol/tasks": True}},
        {"tasks": {}},
    ],
)
def test_what_cannot_be_read_declares_nothing(capabilities: dict[str, Any]) -> None:
    assert declared(capabilities) == NOTHING
