"""May this call be made? Input, decision, and the engines that decide. Pure.

    policy = RegoPolicy.compile({"mesh.rego": source}, data)    once; reloading makes another
    decision = policy.decide(PolicyInput(...))                  never raises, never allows by default

Modules, lowest first: `decision`, `input`, `engine` (the protocol); `tokens`, `source`, `ordering` (what a
policy's text may say), `conversion` (what may reach the engine), `memory` (what was decided), `rego` (the
engine).
"""

from spiffe_mcp.policy.decision import Decision, Visibility
from spiffe_mcp.policy.engine import PolicyEngine
from spiffe_mcp.policy.input import AgentInput, ContextInput, Direction, PolicyInput, ToolInput, UserInput
from spiffe_mcp.policy.rego import RegoPolicy

__all__ = [
    "AgentInput",
    "ContextInput",
    "Decision",
    "Direction",
    "PolicyEngine",
    "PolicyInput",
    "RegoPolicy",
    "ToolInput",
    "UserInput",
    "Visibility",
]
