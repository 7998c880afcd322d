"""What a phase grants, only that phase can make: no step can be left out or forged."""

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh import declined, egress, granted
from spiffe_mcp.mesh.declined import Declined
from spiffe_mcp.mesh.egress import OutboundCall
from spiffe_mcp.mesh.granted import Authenticated, Decided, Inbound, Permit, Selected
from spiffe_mcp.permit import GrantedOnly
from tests.exchange.playbook import Egress, Ingress, call, crossed

PERMIT = Ingress().admit(crossed(call()))
DECIDED = PERMIT.decided
GRANTED: dict[type, Any] = {
    OutboundCall: Egress().admit(call()),
    Inbound: DECIDED.selected.authenticated.inbound,
    Authenticated: DECIDED.selected.authenticated,
    Selected: DECIDED.selected,
    Decided: DECIDED,
    Permit: PERMIT,
    Declined: Declined.granted(request=call(), method="ping", refused=Refused(Reason.POLICY_DENIED)),
}
each = pytest.mark.parametrize(
    ("kind", "grant"), GRANTED.items(), ids=lambda value: getattr(value, "__name__", "")
)


@each
def test_it_cannot_be_constructed_from_its_own_fields(kind: type, grant: Any) -> None:
    said = {field.name: getattr(grant, field.name) for field in fields(grant)}
    with pytest.raises(TypeError, match=f"{kind.__name__} is granted"):
        kind(**said)


@each
def test_it_cannot_be_replaced_by_one_with_another_field(kind: type, grant: Any) -> None:
    for field in fields(grant):
        with pytest.raises(TypeError, match=f"{kind.__name__} is granted"):
            replace(grant, **{field.name: None})


@each
def test_it_cannot_be_changed(kind: type, grant: Any) -> None:
    for field in fields(kind):
        with pytest.raises(FrozenInstanceError):
            setattr(grant, field.name, None)


def test_nothing_that_is_granted_is_missing_here() -> None:
    made = {
        value
        for module in (declined, egress, granted)
        for value in vars(module).values()
        if isinstance(value, GrantedOnly) and value.__module__ == module.__name__
    }
    assert made == GRANTED.keys()
