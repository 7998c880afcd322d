"""What a policy answered: the engine's JSON value in, a `Decision` that cannot be half a permission out.

A policy answers with one object at `data.mcp.authz.decision`:

    allow        boolean, required
    reason       text: the policy's own words, for the audit record
    rule         text: the name of the rule that decided
    visibility   "hidden" (default: the tool does not exist for this caller) or "offered"
    message      text a refused caller may read, where the tool is offered
    obligations  object: conditions that have to be met for the permission to hold

Anything else refuses, with a reason of its own: fail closed. Obligations are not implemented yet, so a
permission that carries any of them is no permission.

Pure. Knows nothing of the engine, of MCP, or of who asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Self

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.strict_json import JsonObject, JsonValue

MAX_TEXT: Final = 1024  # characters of reason, rule and message

_MEMBERS: Final = frozenset({"allow", "reason", "rule", "visibility", "message", "obligations"})


class Visibility(Enum):
    """What a refused caller learns of the tool."""

    HIDDEN = "hidden"
    OFFERED = "offered"


@dataclass(frozen=True, slots=True)
class Decision:
    """A permission, or a refusal with its reason code; never both, never neither.

    `refusal` is the mesh's stable code, `reason` the policy's own words. `detail` is for the operator.
    """

    allow: bool
    refusal: Reason | None = None
    reason: str = ""
    rule: str = ""
    visibility: Visibility = Visibility.HIDDEN
    message: str = ""
    obligations: Mapping[str, JsonValue] = field(default_factory=dict)
    detail: str = ""

    def __post_init__(self) -> None:
        if self.allow is not (self.refusal is None):
            raise Refused(Reason.POLICY_DECISION_MALFORMED, "a refusal has a reason code, a permission none")
        if self.allow and self.obligations:
            raise Refused(Reason.POLICY_OBLIGATION_UNKNOWN, ", ".join(self.obligations))

    @classmethod
    def refused(cls, refused: Refused) -> Self:
        """The refusal that stands where no decision could be made: nothing is shown, nothing is allowed."""
        return cls(allow=False, refusal=refused.reason, detail=refused.detail)

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """The decision that `value` spells; a value that spells none is a refusal, never an exception."""
        try:
            return cls._parse(value)
        except Refused as refused:
            return cls.refused(refused)

    @classmethod
    def _parse(cls, value: JsonValue) -> Self:
        """The steps of `parse`; raises `Refused` with the reason of the step that failed."""
        # 1. An object, with `allow`, and with nothing this version does not know: a misspelt `obligation`
        #    must not become a permission without conditions.
        if not isinstance(value, dict):
            raise Refused(Reason.POLICY_DECISION_MALFORMED, "not an object")
        if unknown := value.keys() - _MEMBERS:
            raise Refused(Reason.POLICY_DECISION_MALFORMED, f"unknown member {min(unknown)[:64]!a}")
        # 2. `allow` is the boolean true; 1, "true" or null allow nothing.
        allow = value.get("allow")
        if not isinstance(allow, bool):
            raise Refused(Reason.POLICY_DECISION_MALFORMED, "allow is not a boolean")
        # 3. No permission under a condition that nobody enforces (the constructor refuses it).
        return cls(
            allow=allow,
            refusal=None if allow else Reason.POLICY_DENIED,
            reason=_text(value, "reason"),
            rule=_text(value, "rule"),
            visibility=_visibility(value),
            message=_text(value, "message"),
            obligations=_obligations(value),
        )


def _text(value: JsonObject, member: str) -> str:
    text = value.get(member, "")
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise Refused(
            Reason.POLICY_DECISION_MALFORMED, f"{member} is not a text of at most {MAX_TEXT} characters"
        )
    return text


def _visibility(value: JsonObject) -> Visibility:
    try:
        return Visibility(value.get("visibility", Visibility.HIDDEN.value))
    except ValueError:
        raise Refused(Reason.POLICY_DECISION_MALFORMED, "visibility is neither hidden nor offered") from None


def _obligations(value: JsonObject) -> JsonObject:
    obligations = value.get("obligations", {})
    if not isinstance(obligations, dict):
        raise Refused(Reason.POLICY_DECISION_MALFORMED, "obligations is not an object")
    return obligations
