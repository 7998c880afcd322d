"""Arguments, held to the schema that was signed.

Enters: a tool's signed `inputSchema`, once, when its manifest is loaded; then the arguments of each call.
Leaves: nothing, or a refusal that names the rule broken and never a value. The server may widen its live
schema in silence; a call through the mesh is not wider for it.

JSON Schema 2020-12 unless `$schema` names another known draft (MCP 2025-11-25, "JSON Schema Usage"). Nothing
is ever fetched. `format` is an annotation, as that draft has it by default.

Patterns run on a linear-time engine. Look-around and back-references need one that backtracks, with a bound;
what exceeds the bound counts as "does not match", which is fail-closed only where a pattern has to match.
Such a pattern is therefore refused in any schema that could turn "does not match" into "allowed".

How large a schema may grow is `extent`'s question. Pure.
"""

from dataclasses import dataclass, field
from typing import Final, Self

import jsonschema_rs

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.extent import check_extent
from spiffe_mcp.strict_json import JsonObject, JsonValue

_COMPILED_PATTERN_BYTES: Final = 1024 * 1024
_BACKTRACKS: Final = 10_000

_LINEAR: Final = jsonschema_rs.RegexOptions(
    size_limit=_COMPILED_PATTERN_BYTES, dfa_size_limit=_COMPILED_PATTERN_BYTES
)
_BACKTRACKING: Final = jsonschema_rs.FancyRegexOptions(
    backtrack_limit=_BACKTRACKS, size_limit=_COMPILED_PATTERN_BYTES, dfa_size_limit=_COMPILED_PATTERN_BYTES
)
# Keywords under which a pattern that does not match can make arguments acceptable.
_INVERTING: Final = frozenset(
    {"not", "if", "oneOf", "contains", "patternProperties", "unevaluatedProperties", "unevaluatedItems"}
)


@dataclass(frozen=True, slots=True)
class InputSchema:
    """One compiled schema. Construct with `InputSchema.compile`."""

    _validator: jsonschema_rs.Validator = field(repr=False, compare=False)

    @classmethod
    def compile(cls, schema: JsonValue, path: str) -> Self:
        """Compile the `inputSchema` of the tool at `path`; raises `Refused(MANIFEST_SCHEMA_INVALID)`.

        MCP wants the root to say `"type": "object"`: arguments are always an object.
        """
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise Refused(Reason.MANIFEST_SCHEMA_INVALID, f'{path}: no "type": "object"')
        check_extent(schema, path)
        try:
            return cls(_compiled(schema, _LINEAR, path))
        except Refused:
            if _has_inverting_keyword(schema):
                raise
            return cls(_compiled(schema, _BACKTRACKING, path))

    def validate(self, arguments: JsonObject) -> None:
        """Return if `arguments` satisfy the schema; raises `Refused(MANIFEST_ARGUMENTS_INVALID)`.

        The detail is the JSON pointer (RFC 6901) of the rule inside the signed schema. Where in the arguments
        it was broken is not said: names of members are the caller's words.
        """
        try:
            if self._validator.is_valid(arguments):
                return
            rule = next(iter(self._validator.iter_errors(arguments))).schema_path
        except (ValueError, StopIteration):
            # Not the JSON that strict JSON gives (a lone surrogate, say): fail closed.
            raise Refused(Reason.MANIFEST_ARGUMENTS_INVALID) from None
        raise Refused(Reason.MANIFEST_ARGUMENTS_INVALID, _pointer(rule))


def _compiled(
    schema: JsonObject, patterns: jsonschema_rs.RegexOptions | jsonschema_rs.FancyRegexOptions, path: str
) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            schema, offline=True, validate_formats=False, pattern_options=patterns
        )
    except jsonschema_rs.ValidationError as error:
        where = f"{path}, at {_pointer(error.instance_path)!a}"
        raise Refused(Reason.MANIFEST_SCHEMA_INVALID, f"{where}: {error.message[:120]!a}") from None
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise Refused(Reason.MANIFEST_SCHEMA_INVALID, f"{path}: {str(error)[:120]!a}") from None


def _has_inverting_keyword(schema: JsonValue) -> bool:
    """Whether such a keyword occurs anywhere: a property of that name counts too, to keep this simple."""
    if isinstance(schema, dict):
        return not _INVERTING.isdisjoint(schema) or any(map(_has_inverting_keyword, schema.values()))
    return isinstance(schema, list) and any(map(_has_inverting_keyword, schema))


def _pointer(path: list[str | int]) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
