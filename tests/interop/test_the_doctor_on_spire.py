"""The doctor's words about a real SPIRE agent are the right ones."""

import asyncio
import os
from pathlib import Path

import pytest

from spiffe_mcp.doctor.diagnosis import Patient, examine
from spiffe_mcp.doctor.finding import Check, Finding, Severity
from spiffe_mcp.identity import SpiffeId
from spiffe_mcp.identity.wanted import ById
from tests.fakes import spire
from tests.fakes.mcp_client import now

pytestmark = pytest.mark.skipif(not spire.is_installed(), reason=spire.MISSING)

MINE = "spiffe://mesh.test/mine"


def errors(patient: Patient) -> dict[Check, Finding]:
    """What is wrong, by what was looked at."""

    async def found() -> list[Finding]:
        return [finding async for finding in examine(patient, now)]

    return {finding.check: finding for finding in asyncio.run(found()) if finding.severity is Severity.ERROR}


def test_an_attested_workload_is_well_and_one_that_wants_another_svid_learns_what_is_offered(
    tmp_path: Path,
) -> None:
    with spire.running_spire(tmp_path, entries=[(MINE, os.getuid())]) as socket:
        assert errors(Patient(socket)) == {}
        other = ById(SpiffeId.parse("spiffe://mesh.test/other"))
        found = errors(Patient(socket, wanted=other))
    assert found.keys() == {Check.SVID}
    assert f"Offered: {MINE}." in found[Check.SVID].message


def test_a_workload_without_an_entry_learns_which_selectors_to_register(tmp_path: Path) -> None:
    with spire.running_spire(tmp_path, entries=[(MINE, 54321)]) as socket:
        found = errors(Patient(socket))
    assert found.keys() == {Check.WORKLOAD_API}
    assert "no identity issued" in found[Check.WORKLOAD_API].message
    assert f"unix:uid:{os.getuid()}" in found[Check.WORKLOAD_API].advice


def test_a_spire_that_has_ended_is_told_by_its_socket(tmp_path: Path) -> None:
    with spire.running_spire(tmp_path, entries=[(MINE, os.getuid())]) as socket:
        pass
    assert errors(Patient(socket)).keys() == {Check.SOCKET}
