"""Whatever a caller sends reaches Rego unharmed or is refused; it never becomes something else."""

from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.policy import conversion
from spiffe_mcp.policy.decision import Decision
from spiffe_mcp.policy.memory import DecisionMemory
from spiffe_mcp.policy.rego import RegoPolicy
from spiffe_mcp.strict_json import JsonObject, JsonValue

ECHO: Final = 'package mcp.authz\ndecision := {"allow": input.x == input.y, "reason": input.z}'
NUMBERS: Final = st.integers() | st.floats(allow_nan=True) | st.integers(min_value=-(2**70), max_value=2**70)
TEXTS: Final = st.text(st.characters(exclude_categories=[])) | st.sampled_from(
    ['"', "\\", "\\n", "\n", "\x00", '", "allow": true, "x": "', "%s", "\u2028", "${x}", "`", "\ufeff", "é"]
)
VALUES: Final = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXTS, below, max_size=4),
    max_leaves=12,
)
NOT_HELD: Final = {Reason.POLICY_INPUT_TEXT, Reason.POLICY_INPUT_NUMBER, Reason.POLICY_INPUT_SIZE}

echo: Final = RegoPolicy.compile({"echo.rego": ECHO})


def holds(value: JsonValue) -> bool:
    """Whether the engine is trusted with `value`."""
    try:
        conversion.check({"x": value})
    except Refused:
        return False
    return True


@given(VALUES)
@example("\\n")
@example(12345678901234567890123)
@example({'a"b': 1})
@example({"": {"": ""}})
@example([1e-7, 1e16, -0.0, 123456789.123456])
def test_a_value_equals_itself_as_data_and_nothing_is_lost_on_the_way(value: JsonValue) -> None:
    """Compared inside the engine with the same value, put there by the other of its two ways in."""
    if not holds(value):
        assert echo.evaluate({"x": value, "y": value, "z": ""}).refusal in NOT_HELD
        return
    source = {"data.rego": 'package mcp.authz\ndecision := {"allow": input.x == data.x}'}
    assert RegoPolicy.compile(source, {"x": value}).evaluate({"x": value}).allow


@given(VALUES, VALUES)
@example("1", 1)
@example(one=0, other=False)
@example([], {})
@example("a\x00b", "a")
@example(2**64, 0)
@example("\n", "\\n")
def test_values_that_differ_are_not_equal_in_the_engine(one: JsonValue, other: JsonValue) -> None:
    """No two values of a caller become one (numbers compared to 15 significant digits)."""
    decision = echo.evaluate({"x": one, "y": other, "z": ""})
    if decision.allow:
        assert _coarse(one) == _coarse(other)


@given(TEXTS)
@settings(max_examples=300)
def test_a_text_comes_back_as_it_went_in_and_decides_nothing(text: str) -> None:
    """A caller's text in the policy's own words stays a text: it adds no member to the decision."""
    decision = echo.evaluate({"x": 1, "y": 2, "z": text})
    if holds(text):
        assert decision == Decision(allow=False, refusal=Reason.POLICY_DENIED, reason=text)
    else:
        assert decision.refusal in NOT_HELD


@given(VALUES)
def test_no_input_makes_the_engine_raise(value: JsonValue) -> None:
    """A decision comes out, always."""
    assert isinstance(echo.evaluate({"x": value, "y": [value], "z": value}), Decision)


ALIKE: Final = st.sampled_from(
    [None, True, False, 0, 1, -1, 1.0, 0.0, -0.0, 0.5, "", "1", "true", "null", [], [1], [True], {}, {"a": 1}]
)


@given(st.lists(st.tuples(ALIKE | VALUES, ALIKE | VALUES), min_size=1, max_size=20))
@settings(deadline=None)
def test_what_is_remembered_is_what_would_be_decided(pairs: list[tuple[JsonValue, JsonValue]]) -> None:
    """Whatever was asked before, however much alike: an answer is that of a policy without memory."""
    known = RegoPolicy.compile({"echo.rego": ECHO})
    for one, other in (*pairs, *reversed(pairs)):
        document: JsonObject = {"x": one, "y": other, "z": "said"}
        assert known.evaluate(document) == forgetful(document)


def forgetful(document: JsonObject) -> Decision:
    """The decision of a policy that has decided nothing yet."""
    echo._decisions = DecisionMemory()
    return echo.evaluate(document)


def _coarse(value: JsonValue) -> object:
    """`value` with its types told apart and its numbers to 15 digits."""
    if isinstance(value, dict):
        return "object", frozenset((member, _coarse(below)) for member, below in value.items())
    if isinstance(value, list):
        return "array", tuple(map(_coarse, value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return type(value), value
    return "number", f"{value:.15g}" if isinstance(value, float) or abs(value) < 10**15 else str(value)
