"""What a client lets a server ask of it: declared at `initialize`, or with each request of 2026-07-28.

Enters: a client's `capabilities` object. Leaves: the few bits of it that decide what may be asked. Pure.
"""

from enum import Flag, auto
from typing import Final

from spiffe_mcp.strict_json import JsonObject, JsonValue

TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"


class Capability(Flag):
    """What may be asked."""

    SAMPLING = auto()
    SAMPLING_TOOLS = auto()  # sampling with tools (client/sampling "Capabilities")
    ELICITATION = auto()
    ELICITATION_URL = auto()  # beside forms (client/elicitation "Capabilities")
    ROOTS = auto()
    TASKS = auto()  # a task in place of a result (extension `io.modelcontextprotocol/tasks`)


NOTHING: Final = Capability(0)


def declared(capabilities: JsonObject) -> Capability:
    """What `capabilities` declares.

    Fail closed: what cannot be read, or is spelled otherwise, declares nothing.
    """
    found = NOTHING
    if _has(capabilities, "sampling"):
        found |= Capability.SAMPLING
        found |= Capability.SAMPLING_TOOLS if _has(capabilities.get("sampling"), "tools") else NOTHING
    elicitation = capabilities.get("elicitation")
    if isinstance(elicitation, dict):
        # An empty object means forms: what the capability said before there were modes.
        forms = not elicitation or _has(elicitation, "form")
        found |= Capability.ELICITATION if forms else NOTHING
        found |= Capability.ELICITATION_URL if _has(elicitation, "url") else NOTHING
    if _has(capabilities.get("extensions"), TASKS_EXTENSION):
        found |= Capability.TASKS
    return found | (Capability.ROOTS if _has(capabilities, "roots") else NOTHING)


def _has(value: JsonValue, member: str) -> bool:
    return isinstance(value, dict) and isinstance(value.get(member), dict)
