"""The folder of a demo run holds what that run made, and never costs anybody a file."""

import json
from pathlib import Path

import pytest

from spiffe_mcp.dev.workspace import SERVER, Workspace
from spiffe_mcp.errors import Reason, Refused


def test_a_new_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    Workspace(folder).claim()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_index_names_the_files_relative_to_the_folder(tmp_path: Path) -> None:
    Workspace(tmp_path).claim()
    index = json.loads((tmp_path / "index.json").read_text())
    assert index["server"] == str(SERVER)
    assert index.keys() >= {"manifest", "trust_policy", "audit_log", "bundles"}
    assert not any("/" in name for key, name in index.items() if key != "server")


def test_what_an_earlier_run_left_is_gone_and_what_is_not_its_own_stays(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.claim()
    workspace.audit_log("ingress").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    workspace.claim()
    assert {path.name for path in tmp_path.iterdir()} == {"index.json", "notes.txt"}


@pytest.mark.parametrize("name", ["publisher.pem", "notes.txt", "manifest.dsse.json"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(Refused) as caught:
        Workspace(tmp_path).claim()
    assert caught.value.reason is Reason.DEV_FOLDER
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.claim()
    workspace.policy.write_text("theirs")
    workspace.socket.touch()
    with pytest.raises(Refused) as caught:
        workspace.claim()
    assert caught.value.reason is Reason.DEV_FOLDER
    assert workspace.policy.read_text() == "theirs"
