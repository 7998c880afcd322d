"""Relationships: which parameters belong together, which bundle is in force next, and when to ask again."""

from datetime import timedelta
from pathlib import Path

import pytest

from spiffe_mcp.dev.federation import (
    DEFAULT_REFRESH,
    MAX_REFRESH,
    MIN_REFRESH,
    EndpointUrl,
    FederatesWith,
    HttpsSpiffe,
    HttpsWeb,
    ShowsSvid,
    refresh_interval,
    relationships,
    superseding,
)
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.bundle import Bundle
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain

A, B, C = TrustDomain("a.test"), TrustDomain("b.test"), TrustDomain("c.test")
URL = EndpointUrl.parse("https://b.test/")
FILE = Path("b.json")


def bundle(sequence: int | None = None, hint: timedelta | None = None) -> SpiffeBundle:
    return SpiffeBundle(Bundle(B, ()), sequence=sequence, refresh_hint=hint)


# -- the URL ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("https://b.test", "b.test", 443, "/"),
        ("https://b.test:8443/bundle.json?a=b", "b.test", 8443, "/bundle.json?a=b"),
        ("https://127.0.0.1:1/", "127.0.0.1", 1, "/"),
        ("https://[::1]:2/x", "::1", 2, "/x"),
    ],
)
def test_a_url_is_a_host_a_port_and_a_target(text: str, host: str, port: int, target: str) -> None:
    url = EndpointUrl.parse(text)
    assert (url.address.host, url.address.port, url.target) == (host, port, target)
    assert EndpointUrl.parse(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "http://b.test/",
        "b.test",
        "",
        "https://",
        "https://user@b.test/",
        "https://user:secret@b.test/",
        "https://@b.test/",
        "https://b.test/#part",
        "https://b.test:port/",
        "https://b.test:99999/",
        "https://b t/",
        "https://b.test/ x",
        "https://b.test/\r\nx: y",
        "https://b\u00e9.test/",
        "https://b.test/\u00e9",
        "https://[::1/",
    ],
)
def test_what_is_no_https_url_without_userinfo_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        EndpointUrl.parse(text)
    assert refused.value.reason is Reason.FEDERATION_RELATIONSHIP
    assert "secret" not in refused.value.detail


# -- relationships ------------------------------------------------------------------------------------------


def reason_of(trust_domain: TrustDomain, profile: HttpsSpiffe) -> Reason:
    with pytest.raises(Refused) as refused:
        FederatesWith(trust_domain, URL, profile)
    return refused.value.reason


def test_an_endpoint_of_the_same_trust_domain_needs_a_bootstrap_bundle() -> None:
    endpoint_id = SpiffeId(B, "/endpoint")
    assert FederatesWith(B, URL, HttpsSpiffe(endpoint_id, FILE)).bootstrap == FILE
    assert reason_of(B, HttpsSpiffe(endpoint_id)) is Reason.FEDERATION_RELATIONSHIP


def test_an_endpoint_of_another_trust_domain_must_have_none() -> None:
    elsewhere = SpiffeId(C, "/endpoint")
    assert FederatesWith(B, URL, HttpsSpiffe(elsewhere)).bootstrap is None
    assert reason_of(B, HttpsSpiffe(elsewhere, FILE)) is Reason.FEDERATION_RELATIONSHIP


def test_web_pki_begins_with_no_bundle() -> None:
    assert FederatesWith(B, URL, HttpsWeb()).bootstrap is None


def test_each_trust_domain_has_one_relationship_and_our_own_none() -> None:
    with_b, with_c = FederatesWith(B, URL, HttpsWeb()), FederatesWith(C, URL, HttpsWeb())
    assert relationships(A, [with_b, with_c]) == {B: with_b, C: with_c}
    for wrong in ([with_b, with_b], [with_b, FederatesWith(A, URL, HttpsWeb())]):
        with pytest.raises(Refused) as refused:
            relationships(A, wrong)
        assert refused.value.reason is Reason.FEDERATION_RELATIONSHIP


def test_the_endpoint_has_a_usual_name() -> None:
    assert str(ShowsSvid.of(A).endpoint_id) == "spiffe://a.test/spiffe/bundle-endpoint"


# -- bundles ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fetched", "current"), [(2, 1), (2, 2), (None, 2), (2, None)])
def test_a_bundle_that_is_not_known_to_be_older_is_taken(fetched: int | None, current: int | None) -> None:
    assert superseding(bundle(fetched), bundle(current)) == bundle(fetched)


def test_the_first_bundle_is_taken() -> None:
    assert superseding(bundle(1), None) == bundle(1)


def test_an_older_bundle_is_not_taken() -> None:
    with pytest.raises(Refused) as refused:
        superseding(bundle(1), bundle(2))
    assert refused.value.reason is Reason.FEDERATION_STALE


@pytest.mark.parametrize(
    ("known", "interval"),
    [
        (None, DEFAULT_REFRESH),
        (bundle(), DEFAULT_REFRESH),
        (bundle(hint=timedelta(seconds=90)), timedelta(seconds=90)),
        (bundle(hint=timedelta(milliseconds=1)), MIN_REFRESH),
        (bundle(hint=timedelta(days=28)), MAX_REFRESH),
    ],
)
def test_the_hint_says_when_to_ask_again_within_bounds(
    known: SpiffeBundle | None, interval: timedelta
) -> None:
    assert refresh_interval(known) == interval
