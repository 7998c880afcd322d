"""The generated protobuf code is what scripts/protos makes of the definitions."""

from pathlib import Path

import pytest
from spiffe._proto import workload_pb2 as standard

from scripts.lib import protos
from spiffe_mcp.identity.sources import broker, delegated
from spiffe_mcp.identity.sources.proto import broker_pb2, delegated_identity_pb2, workload_pb2

HERE = protos.ROOT / protos.FOLDER
GENERATED = sorted(path.name for path in HERE.glob("*_pb2.py*"))


@pytest.fixture(scope="module")
def made_anew(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("protos")
    assert protos.make(folder) == 0
    return folder / protos.FOLDER


@pytest.mark.parametrize("name", GENERATED)
def test_the_generated_code_is_current(made_anew: Path, name: str) -> None:
    assert (HERE / name).read_text() == (made_anew / name).read_text(), "run scripts/protos"


def test_every_definition_has_its_code() -> None:
    names = {path.stem for path in HERE.glob("*.proto")}
    assert {f"{name}_pb2.{kind}" for name in names for kind in ("py", "pyi")} == {*GENERATED}


def test_methods_are_called_by_the_names_of_the_definitions() -> None:
    service = broker_pb2.DESCRIPTOR.services_by_name["API"]
    assert f"/{service.full_name}/{service.methods[0].name}" == broker._METHOD
    service = delegated_identity_pb2.DESCRIPTOR.services_by_name["DelegatedIdentity"]
    called = [f"/{service.full_name}/{method.name}" for method in service.methods]
    assert called == [delegated._SVIDS, delegated._BUNDLES]


def test_a_process_is_the_only_thing_that_a_delegate_can_ask_for() -> None:
    """Selectors (number 1) would be believed as they are."""
    request = delegated_identity_pb2.SubscribeToX509SVIDsRequest.DESCRIPTOR
    assert [(field.name, field.number) for field in request.fields] == [("pid", 2)]


@pytest.mark.parametrize("name", ["X509SVIDRequest", "X509SVIDResponse", "X509SVID"])
def test_messages_of_the_workload_api_are_the_standard_s_but_for_revocation_lists(name: str) -> None:
    theirs = standard.DESCRIPTOR.message_types_by_name[name]
    ours = workload_pb2.DESCRIPTOR.message_types_by_name[name]
    expected = {field.name: (field.number, field.type) for field in theirs.fields if field.name != "crl"}
    assert {field.name: (field.number, field.type) for field in ours.fields} == expected
