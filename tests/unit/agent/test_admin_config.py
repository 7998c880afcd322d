"""The admin endpoint is on loopback, unless the configuration spells out that it is not."""

from pathlib import Path

import pytest

from spiffe_mcp.agent.admin_config import AdminConfig, read_admin
from spiffe_mcp.config import read_file
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.addresses import Address


def read(folder: Path, text: str) -> AdminConfig:
    file = folder / "admin.yaml"
    file.write_text(text)
    return read_file(file, read_admin)


@pytest.mark.parametrize("address", ["127.0.0.1:9470", "127.8.9.10:1", '"[::1]:9470"', "127.0.0.1:0"])
def test_loopback_needs_no_more_words(tmp_path: Path, address: str) -> None:
    config = read(tmp_path, f"listen: {address}\n")
    assert config == AdminConfig(Address.parse(address.strip('"')))
    assert not config.on_network


@pytest.mark.parametrize(
    "address", ["0.0.0.0:9470", "10.1.2.3:9470", '"[::]:9470"', "localhost:9470", "admin.internal:9470"]
)
def test_anything_else_is_refused_until_the_danger_is_spelled_out(tmp_path: Path, address: str) -> None:
    with pytest.raises(Refused) as refused:
        read(tmp_path, f"listen: {address}\n")
    assert refused.value.reason is Reason.CONFIG_INVALID
    assert "no address of loopback" in refused.value.detail
    assert "unauthenticated_on_network: true" in refused.value.detail
    assert read(tmp_path, f"listen: {address}\nunauthenticated_on_network: true\n").on_network


@pytest.mark.parametrize("flag", ["yes", "True", "1", '""', "[true]"])
def test_a_flag_is_true_or_false_in_these_letters(tmp_path: Path, flag: str) -> None:
    with pytest.raises(Refused) as refused:
        read(tmp_path, f"listen: 127.0.0.1:1\nunauthenticated_on_network: {flag}\n")
    assert "expected 'true' or 'false'" in refused.value.detail
