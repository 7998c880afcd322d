"""What an ingress decides by is loaded whole and verified, or the agent does not start."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from spiffe_mcp.agent import load as load_module
from spiffe_mcp.agent.config import IngressConfig, ServerConfig
from spiffe_mcp.agent.load import load_site
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import AllowedIds, SpiffeId
from spiffe_mcp.manifest import FileSigner
from spiffe_mcp.mesh.addresses import Address
from spiffe_mcp.mesh.routes import ServerName
from spiffe_mcp.mesh.targets import HttpUpstream
from tests.exchange.playbook import ENVELOPE, MANIFEST, NOW, PUBLISHER, UPSTREAM
from tests.fakes import publisher

REGO = b'package mcp.authz\ndecision := {"allow": data.open}\n'


@pytest.fixture
def ingress(tmp_path: Path) -> IngressConfig:
    """The files of one server behind an ingress, all of them good."""
    (tmp_path / "manifest.json").write_bytes(ENVELOPE)
    (tmp_path / "trust.json").write_text(json.dumps(publisher.policy_json(publisher=PUBLISHER)))
    (tmp_path / "a.rego").write_bytes(REGO)
    (tmp_path / "data.json").write_text('{"open": true}')
    return IngressConfig(
        workload=None,
        identity=publisher.SERVER,
        listen=Address("127.0.0.1", 0),
        peers=AllowedIds.only(publisher.SERVER),
        servers=(ServerConfig(ServerName("weather"), UPSTREAM, tmp_path / "manifest.json"),),
        trust_policy=tmp_path / "trust.json",
        policy=(tmp_path / "a.rego",),
        policy_data=tmp_path / "data.json",
        policy_version="7",
        environment="test",
        recheck=timedelta(seconds=7),
    )


def refusal(ingress: IngressConfig) -> Refused:
    with pytest.raises(Refused) as caught:
        load_site(ingress, NOW)
    return caught.value


def test_everything_is_verified_and_compiled(ingress: IngressConfig) -> None:
    site = load_site(ingress, NOW)
    (route,) = site.routes
    assert (route.name, route.upstream) == (ServerName("weather"), UPSTREAM)
    assert (route.manifest.sha256, route.manifest.signers) == (MANIFEST.sha256, MANIFEST.signers)
    assert (site.peers, site.environment, site.recheck) == (ingress.peers, "test", timedelta(seconds=7))
    assert site.policy.digest.startswith("sha256:")
    assert site.policy.version == "7"


def test_several_servers_have_a_manifest_each(ingress: IngressConfig, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_bytes(ENVELOPE)
    other = ServerConfig(ServerName("other"), HttpUpstream.parse("http://b/"), tmp_path / "other.json")
    site = load_site(replace(ingress, servers=(*ingress.servers, other)), NOW)
    assert [str(route.name) for route in site.routes] == ["weather", "other"]


def test_policy_data_may_be_left_out(ingress: IngressConfig, tmp_path: Path) -> None:
    (tmp_path / "a.rego").write_bytes(b'package mcp.authz\ndecision := {"allow": false}\n')
    with_data = load_site(ingress, NOW).policy.digest
    assert load_site(replace(ingress, policy_data=None), NOW).policy.digest != with_data


def test_no_policy_is_no_permission_to_start(ingress: IngressConfig) -> None:
    assert refusal(replace(ingress, policy=())).reason is Reason.POLICY_INVALID


WRONG = {
    "no manifest": ("manifest.json", None, Reason.CONFIG_INVALID),
    "no trust policy": ("trust.json", None, Reason.CONFIG_INVALID),
    "no Rego": ("a.rego", None, Reason.CONFIG_INVALID),
    "no data": ("data.json", None, Reason.CONFIG_INVALID),
    "a manifest that is none": ("manifest.json", b"{}", Reason.MANIFEST_ENVELOPE),
    "a manifest of a stranger": (
        "manifest.json",
        publisher.seal(b"{}", FileSigner.from_pem(publisher.p256_pem())),
        Reason.MANIFEST_SIGNATURE,
    ),
    "a trust policy that is none": ("trust.json", b"[]", Reason.MANIFEST_TRUST_POLICY),
    "a trust policy with a key twice": (
        "trust.json",
        b'{"version": 1, "version": 1}',
        Reason.JSON_DUPLICATE_KEY,
    ),
    "data that is none": ("data.json", b"[]", Reason.JSON_MALFORMED),
    "data with a key twice": ("data.json", b'{"a": 1, "a": 2}', Reason.JSON_DUPLICATE_KEY),
    "Rego that does not compile": ("a.rego", b"package mcp.authz\ndecision := {\n", Reason.POLICY_INVALID),
    "Rego that is not UTF-8": ("a.rego", REGO + b"# \xff\n", Reason.POLICY_INVALID),
}


@pytest.mark.parametrize(("name", "content", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_missing_or_wrong_is_refused_with_the_name_of_its_file(
    ingress: IngressConfig, tmp_path: Path, name: str, content: bytes | None, reason: Reason
) -> None:
    file = tmp_path / name
    file.unlink() if content is None else file.write_bytes(content)
    refused = refusal(ingress)
    assert str(file) in refused.detail
    assert refused.reason is reason


def test_a_good_manifest_of_another_server_is_refused(ingress: IngressConfig) -> None:
    other = replace(ingress, identity=SpiffeId.parse("spiffe://mesh.test/other"))
    assert refusal(other).reason is Reason.MANIFEST_SERVER_MISMATCH


def test_a_manifest_that_has_expired_is_refused_at_the_start(ingress: IngressConfig) -> None:
    with pytest.raises(Refused) as caught:
        load_site(ingress, publisher.EXPIRES)
    assert caught.value.reason is Reason.MANIFEST_EXPIRED
    assert "manifest.json: " in caught.value.detail


def test_a_folder_is_no_file(ingress: IngressConfig, tmp_path: Path) -> None:
    refused = refusal(replace(ingress, trust_policy=tmp_path))
    assert (refused.reason, refused.detail) == (Reason.CONFIG_INVALID, f"{tmp_path}: Is a directory")


def test_a_file_that_is_too_large_is_not_read_whole(
    ingress: IngressConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "_MAX_BYTES", 10)
    refused = refusal(ingress)
    assert (refused.reason, refused.detail) == (
        Reason.CONFIG_INVALID,
        f"{tmp_path / 'trust.json'}: larger than 10 bytes",
    )
