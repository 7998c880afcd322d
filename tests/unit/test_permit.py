"""A permit is granted by a decision; nothing else makes one."""

from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any, cast

import pytest

from spiffe_mcp.permit import GrantedOnly


@dataclass(frozen=True, slots=True)
class Pass(metaclass=GrantedOnly):
    """To be let through `gate`, once or several times."""

    gate: str
    times: int = 1

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(self.times)


def test_a_decision_grants_it_with_its_fields_and_defaults() -> None:
    granted = Pass.granted(gate="north")
    assert (granted.gate, granted.times) == ("north", 1)
    assert type(granted) is Pass


def test_it_cannot_be_constructed() -> None:
    with pytest.raises(TypeError, match="Pass is granted by a decision, never constructed"):
        Pass("north")
    with pytest.raises(TypeError, match="never constructed"):
        Pass(gate="north", times=2)


def test_it_cannot_be_replaced_by_one_that_differs() -> None:
    with pytest.raises(TypeError, match="never constructed"):
        replace(Pass.granted(gate="north"), gate="south")


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        cast("Any", Pass.granted(gate="north")).gate = "south"


def test_a_class_derived_from_it_cannot_be_constructed_either() -> None:
    class Forged(Pass):
        """A pass by another name."""

    with pytest.raises(TypeError, match="Forged is granted"):
        Forged("north")


def test_a_decision_cannot_grant_what_the_class_itself_refuses() -> None:
    with pytest.raises(ValueError, match="0"):
        Pass.granted(gate="north", times=0)
    with pytest.raises(TypeError):
        Pass.granted(door="north")


def test_two_grants_of_the_same_are_equal() -> None:
    assert Pass.granted(gate="north") == Pass.granted(gate="north", times=1)
