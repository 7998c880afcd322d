"""The words of `dev provider`: what they mean, and which of them make no sense together."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from spiffe_mcp.cli.main import app
from spiffe_mcp.cli.provider_words import EndpointProfile, address, entries, relationships, shows
from spiffe_mcp.dev.federation import HttpsSpiffe, HttpsWeb, ShowsCertificate, ShowsSvid
from spiffe_mcp.dev.issuance import Entry
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import SpiffeId, TrustDomain
from spiffe_mcp.mesh.addresses import Address

A, B, C = TrustDomain("a.test"), TrustDomain("b.test"), TrustDomain("c.test")
WORKLOAD = "spiffe://a.test/w"
URL, OTHER_URL = "https://b.test:8443/", "https://c.test/bundle"
ENDPOINT = "spiffe://b.test/spiffe/bundle-endpoint"
SPIFFE, WEB = EndpointProfile.HTTPS_SPIFFE, EndpointProfile.HTTPS_WEB


def test_an_entry_is_an_id_and_a_uid_or_the_current_user() -> None:
    workload = SpiffeId.parse(WORKLOAD)
    assert entries([f"{WORKLOAD}=1000"], None, ()) == [Entry(workload, 1000)]
    assert entries([WORKLOAD], None, ()) == [Entry(workload, os.getuid())]


def test_an_entry_federates_with_what_is_said_of_it_and_with_nothing_else() -> None:
    found = entries([f"{WORKLOAD}=1", f"{WORKLOAD}2=1"], [f"{WORKLOAD}=b.test", f"{WORKLOAD}=c.test"], {B, C})
    assert [entry.federates_with for entry in found] == [{B, C}, frozenset()]


def test_a_relationship_has_a_url_and_a_profile() -> None:
    with_b, with_c = relationships(
        [f"b.test={URL}", f"c.test={OTHER_URL}"],
        [f"b.test={ENDPOINT}"],
        ["b.test=b.json"],
        ["c.test=ca.pem"],
    )
    assert (with_b.trust_domain, str(with_b.url)) == (B, URL)
    assert with_b.profile == HttpsSpiffe(SpiffeId.parse(ENDPOINT), Path("b.json"))
    assert (with_c.trust_domain, with_c.profile) == (C, HttpsWeb(Path("ca.pem")))


def test_web_pki_without_a_file_is_the_systems() -> None:
    (relationship,) = relationships([f"b.test={URL}"], None, None, ["b.test"])
    assert relationship.profile == HttpsWeb()


def test_an_endpoint_shows_an_svid_or_a_certificate() -> None:
    assert shows(A, SPIFFE, None, None, None) == ShowsSvid.of(A)
    assert shows(A, SPIFFE, WORKLOAD, None, None) == ShowsSvid(SpiffeId.parse(WORKLOAD))
    files = (Path("crt"), Path("key"))
    assert shows(A, WEB, None, *files) == ShowsCertificate(*files)


def test_an_address_is_a_host_and_a_port() -> None:
    assert address("127.0.0.1:8443") == Address("127.0.0.1", 8443)


SENSELESS: dict[str, Callable[[], object]] = {
    "a uid that is none": lambda: entries([f"{WORKLOAD}=root"], None, ()),
    "federating an entry that is not there": lambda: entries(
        [WORKLOAD], ["spiffe://a.test/other=b.test"], {B}
    ),
    "federating with nobody we know": lambda: entries([WORKLOAD], [f"{WORKLOAD}=c.test"], {B}),
    "a URL without a trust domain": lambda: relationships([URL], None, None, None),
    "a URL without a profile": lambda: relationships([f"b.test={URL}"], None, None, None),
    "a profile without a URL": lambda: relationships(None, [f"b.test={ENDPOINT}"], None, None),
    "two profiles": lambda: relationships([f"b.test={URL}"], [f"b.test={ENDPOINT}"], None, ["b.test"]),
    "one profile twice": lambda: relationships([f"b.test={URL}"], None, None, ["b.test", "b.test=x"]),
    "two URLs": lambda: relationships([f"b.test={URL}", f"b.test={OTHER_URL}"], None, None, ["b.test"]),
    "a bootstrap for Web PKI": lambda: relationships([f"b.test={URL}"], None, ["b.test=f"], ["b.test"]),
    "a certificate for an SVID": lambda: shows(A, SPIFFE, None, Path("crt"), None),
    "no key": lambda: shows(A, WEB, None, Path("crt"), None),
    "an ID for a certificate": lambda: shows(A, WEB, WORKLOAD, Path("crt"), Path("key")),
    "no port": lambda: address("127.0.0.1"),
}


@pytest.mark.parametrize("words", SENSELESS.values(), ids=SENSELESS)
def test_words_that_make_no_sense_are_wrong_usage(words: Callable[[], object]) -> None:
    with pytest.raises(typer.BadParameter):
        words()


MISSPELT: dict[str, tuple[Callable[[], object], Reason]] = {
    "an ID": (lambda: entries(["joe"], None, ()), Reason.ID_MALFORMED),
    "a trust domain": (lambda: entries([WORKLOAD], [f"{WORKLOAD}=B.TEST"], {B}), Reason.ID_MALFORMED),
    "a URL": (
        lambda: relationships(["b.test=http://b.test/"], None, None, ["b.test"]),
        Reason.FEDERATION_RELATIONSHIP,
    ),
    "no bootstrap": (
        lambda: relationships([f"b.test={URL}"], [f"b.test={ENDPOINT}"], None, None),
        Reason.FEDERATION_RELATIONSHIP,
    ),
}


@pytest.mark.parametrize(("words", "reason"), MISSPELT.values(), ids=MISSPELT)
def test_a_value_that_is_misspelt_is_refused(words: Callable[[], object], reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        words()
    assert refused.value.reason is reason


def test_the_demos_options_do_not_go_with_the_provider() -> None:
    arguments = [
        "dev",
        "--once",
        "provider",
        "--trust-domain",
        "a.test",
        "--socket",
        "s",
        "--entry",
        WORKLOAD,
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "do not go with provider" in result.output
