"""The embedded Rego engine: module sources in, decisions out.

Rego v1, package `mcp.authz`, two entry points: `decision` (see `decision.py`) and `visible_tools`, a set or
array of names out of `input.tools`. Whatever the engine does not clearly answer is refused.

The library reports in its own ways, all of which end here: an output that is not ok (two rules disagree, a
function that does not exist), the word `undefined`, output that is not JSON, exceptions. Its log is silenced:
it would print caller-controlled text to the standard error stream.

One `RegoPolicy` serves one thread: the engine keeps the input of its last question. Reloading is building
another one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from regopy import Bundle, Input, Interpreter, LogLevel, Output, RegoError

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.policy import conversion
from spiffe_mcp.policy.conversion import Projection
from spiffe_mcp.policy.decision import Decision
from spiffe_mcp.policy.input import PolicyInput
from spiffe_mcp.policy.likeness import Likeness
from spiffe_mcp.policy.memory import DecisionMemory, key_of
from spiffe_mcp.policy.ordering import Comparison, comparisons_in
from spiffe_mcp.policy.source import PACKAGE, read_modules
from spiffe_mcp.policy.tokens import invalid
from spiffe_mcp.strict_json import JsonObject, JsonValue, loads_object

DECISION: Final = "mcp/authz/decision"
VISIBLE_TOOLS: Final = "mcp/authz/visible_tools"

_UNDEFINED: Final = "undefined"
_MAX_ERRORS: Final = 8
# rego-cpp's AST form of an error: (error <length>:<module>|<byte offset>|<length> (errormsg <length>:<text>)
_ENGINE_ERROR: Final = re.compile(r"\(error \d+:(.+?)\|(\d+)\|\d+\s+\(errormsg \d+:([^\n]*?)\)\n")
# What the library raises: its own error; JSON or UTF-8 it cannot decode; output nested too deep.
_ENGINE_FAILURES: Final = (RegoError, ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """What compiling gave."""

    engine: Interpreter
    bundle: Bundle
    reads: Projection
    likeness: Likeness
    comparisons: tuple[Comparison, ...]


class RegoPolicy:
    """A policy, compiled once. Implements `PolicyEngine`."""

    __slots__ = (
        "_bundle",
        "_comparisons",
        "_decisions",
        "_engine",
        "_likeness",
        "_projection",
        "digest",
        "version",
    )

    def __init__(self, compiled: _Compiled, version: str, digest: str) -> None:
        self._engine = compiled.engine
        self._bundle = compiled.bundle
        self._projection = compiled.reads
        self._likeness = compiled.likeness
        self._comparisons = compiled.comparisons
        self._decisions = DecisionMemory()
        self.version: Final = version
        self.digest: Final = digest

    @classmethod
    def compile(cls, modules: Mapping[str, str], data: JsonObject | None = None, version: str = "") -> Self:
        """The policy that `modules` (source by file name) and `data` spell; `version` defaults to the digest.

        Raises `Refused(POLICY_INVALID)`, its detail `file:line: what`, several joined by "; ".
        """
        data = data or {}
        engine = Interpreter()
        engine.log_level = LogLevel.NONE
        # Without this a function that fails on an argument's type is undefined, and `not f(x)` true.
        engine.strict_built_in_errors = True
        # 1. Read the sources ourselves: what the engine would silently evaluate to something else.
        read = read_modules(modules, engine.is_builtin)
        # 2. A policy without a decision would refuse everything, and be found out in production.
        if not any(module.package == PACKAGE and "decision" in module.heads for module in read):
            raise Refused(Reason.POLICY_INVALID, f"no rule `decision` in package {PACKAGE}")
        # 3. Data under the package's own name would answer in place of its rules.
        if PACKAGE.split(".")[0] in data:
            raise Refused(Reason.POLICY_INVALID, "data must not define `mcp`: rules do")
        compiled = _Compiled(
            engine=engine,
            bundle=_build(engine, modules, data),
            reads=Projection.onto(path for module in read for path in module.reads),
            likeness=Likeness.among(read),
            comparisons=tuple(found for module in read for found in comparisons_in(module, data)),
        )
        digest = _digest(modules, data)
        return cls(compiled, version or digest, digest)

    @property
    def reads(self) -> tuple[str, ...]:
        """The paths below `input` that this policy can see, `*` for all: nothing else reaches the engine."""
        return self._projection.paths()

    def decide(self, question: PolicyInput) -> Decision:
        """See `PolicyEngine.decide`."""
        return self.evaluate(question.document(self._projection.members))

    def evaluate(self, document: JsonObject) -> Decision:
        """As `decide`, for an input document that is already built."""
        visible = self._projection.of(document)
        # A question that looks the same to this policy has the same answer (`memory`, `likeness`).
        key = key_of(self._likeness.of(visible))
        decision = self._decisions.get(key)
        if decision is None:
            decision = self._decided(visible)
            self._decisions.keep(key, decision)
        return decision

    def _decided(self, visible: JsonObject) -> Decision:
        try:
            value = self._ask(DECISION, visible)
        except Refused as refused:
            return Decision.refused(refused)
        return Decision.parse(value)

    def visible_tools(self, question: PolicyInput) -> frozenset[str]:
        """See `PolicyEngine.visible_tools`."""
        try:
            value = self._ask(VISIBLE_TOOLS, self._projection.of(question.document(self._projection.members)))
        except Refused as refused:
            if refused.reason is Reason.POLICY_UNDEFINED:
                return frozenset()  # fail closed: a policy that says nothing shows nothing
            raise
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise Refused(Reason.POLICY_DECISION_MALFORMED, "visible_tools is not a set of names")
        # A name that was not asked about is no tool of this server.
        return frozenset(tool.name for tool in question.tools or () if tool.name in value)

    def _ask(self, entry_point: str, visible: JsonObject) -> JsonValue:
        """The engine's value; raises `Refused`: input that it cannot hold, undefined, error.

        `visible` is what the policy can see of an input document: nothing else is converted.
        """
        # 1. Only what keeps its meaning.
        try:
            has_float = conversion.check(visible)
        except Refused as refused:
            where = conversion.misfit(visible)
            raise Refused(refused.reason, f"input.{where}: {refused.detail}") from None
        for comparison in self._comparisons:
            comparison.check(visible)
        # 2. Ask. A failure to set the input must not leave the last caller's input in place: it ends here.
        try:
            if has_float:  # the engine's typed input keeps six decimals of a float, its text form all
                self._engine.set_input_term(conversion.term(visible))
            else:
                self._engine.set_input(Input(visible))
            output = self._engine.query_bundle_entrypoint(self._bundle, entry_point)
        except _ENGINE_FAILURES as error:
            raise Refused(Reason.POLICY_ERROR, type(error).__name__) from None
        # 3. Read the answer as strictly as any stranger's.
        return _value(output)


def _value(output: Output) -> JsonValue:
    if not output.ok():
        raise Refused(Reason.POLICY_ERROR, "rules disagree, or one failed")
    answer = str(output)
    if answer == _UNDEFINED:
        raise Refused(Reason.POLICY_UNDEFINED)
    try:
        expressions = loads_object(answer.encode()).get("expressions")
    except Refused as refused:
        raise Refused(Reason.POLICY_ERROR, f"the engine's answer: {refused.reason.code}") from None
    if not isinstance(expressions, list) or len(expressions) != 1:
        raise Refused(Reason.POLICY_ERROR, "the engine's answer is not one value")
    return expressions[0]


def _build(engine: Interpreter, modules: Mapping[str, str], data: JsonObject) -> Bundle:
    try:
        conversion.check(data)
        for name, source in modules.items():
            engine.add_module(name, source)
        engine.add_data_json(conversion.term(data))
        bundle = engine.build(None, (DECISION, VISIBLE_TOOLS))
    except Refused as refused:
        raise Refused(Reason.POLICY_INVALID, f"data: {refused.detail}") from None
    except _ENGINE_FAILURES as error:
        raise _explained(str(error), modules) from None
    if not bundle.ok():
        raise Refused(Reason.POLICY_INVALID, "the engine did not build it")
    return bundle


def _explained(report: str, modules: Mapping[str, str]) -> Refused:
    """The engine's report of errors as file and line, in the order of the lines."""
    places = sorted(
        {
            (name, modules[name].encode().count(b"\n", 0, int(offset)) + 1, what)
            for name, offset, what in _ENGINE_ERROR.findall(report)
            if name in modules
        }
    )
    if not places:
        return Refused(Reason.POLICY_INVALID, "the engine refuses it and does not say where")
    return Refused(Reason.POLICY_INVALID, "; ".join(invalid(*place).detail for place in places[:_MAX_ERRORS]))


def _digest(modules: Mapping[str, str], data: JsonObject) -> str:
    """`sha256:` over every source and the data, each with its length: no two policies share one.

    What the files are called and where they stand is left out: it does not change what they decide.
    """
    whole = sha256()
    for part in (*sorted(modules.values()), conversion.term(data)):
        whole.update(b"%d:" % len(part.encode()) + part.encode())
    return f"sha256:{whole.hexdigest()}"
