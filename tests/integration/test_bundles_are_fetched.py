"""Foreign bundles: whom an endpoint has to be, what its answer may be, and what becomes of it.

Both parties are on loopback; the endpoints are hostile, or honest, as each test wants.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from cryptography import x509
from spiffe import WorkloadApiClient
from spiffe._proto import workload_pb2 as pb
from spiffe._proto import workload_pb2_grpc as pb_grpc

from spiffe_mcp.dev import bundle_client
from spiffe_mcp.dev.bundle_client import MAX_BYTES, fetch
from spiffe_mcp.dev.federation import FederatesWith, Federation, HttpsSpiffe, HttpsWeb
from spiffe_mcp.dev.issuance import Entry
from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import Bundle, BundleSet, SpiffeId, TrustDomain
from spiffe_mcp.identity.spiffe_bundle import SpiffeBundle
from tests.fakes.bundle_endpoints import (
    LOOPBACK,
    Endpoint,
    answering,
    ok,
    svid_context,
    web_context,
    write_web_files,
)
from tests.fakes.mcp_client import now
from tests.fakes.mini_ca import MiniCa

A, B, C = TrustDomain("a.test"), TrustDomain("b.test"), TrustDomain("c.test")
ENDPOINT = "/spiffe/bundle-endpoint"
HEADER = (("workload.spiffe.io", "true"),)


@pytest.fixture
def ca() -> MiniCa:
    """The authority of b.test."""
    return MiniCa("b.test", now=now())


def bundle_of(ca: MiniCa, **members: Any) -> SpiffeBundle:
    return SpiffeBundle(Bundle(TrustDomain(ca.trust_domain), tuple(ca.bundle_der)), **members)


def known(*cas: MiniCa) -> BundleSet:
    return BundleSet(tuple(bundle_of(ca).x509 for ca in cas))


def by_spiffe(endpoint: Endpoint, endpoint_id: SpiffeId = SpiffeId(B, ENDPOINT)) -> FederatesWith:  # noqa: B008
    bootstrap = Path("b.json") if endpoint_id.trust_domain == B else None
    return FederatesWith(B, endpoint.url, HttpsSpiffe(endpoint_id, bootstrap))


async def refusal_of(relationship: FederatesWith, bundles: BundleSet) -> Refused:
    with pytest.raises(Refused) as refused:
        await fetch(relationship, bundles, now)
    return refused.value


# -- https_spiffe: who the endpoint is ----------------------------------------------------------------------


async def test_an_endpoint_with_exactly_its_id_is_believed(ca: MiniCa) -> None:
    served = bundle_of(ca, sequence=7, refresh_hint=timedelta(seconds=60))
    async with answering(svid_context(ca.issue(ENDPOINT)), ok(served.to_json())) as endpoint:
        assert await fetch(by_spiffe(endpoint), known(ca), now) == served
    (request,) = endpoint.requests
    assert request.startswith(b"GET / HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"authorization" not in request.lower()


async def test_another_workload_of_the_same_trust_domain_is_not_the_endpoint(ca: MiniCa) -> None:
    async with answering(svid_context(ca.issue("/workload")), ok(b"{}")) as endpoint:
        refused = await refusal_of(by_spiffe(endpoint), known(ca))
    assert refused.reason is Reason.ID_NOT_AUTHORIZED
    assert endpoint.requests == []


async def test_a_stranger_with_the_right_name_is_not_the_endpoint(ca: MiniCa) -> None:
    stranger = MiniCa("b.test", now=now())
    async with answering(svid_context(stranger.issue(ENDPOINT)), ok(b"{}")) as endpoint:
        refused = await refusal_of(by_spiffe(endpoint), known(ca))
    assert refused.reason is Reason.FEDERATION_ENDPOINT
    assert endpoint.requests == []


async def test_an_authority_of_a_third_trust_domain_cannot_speak_for_the_endpoint(ca: MiniCa) -> None:
    third = MiniCa("c.test", now=now())
    forged = third.issue(uris=(f"spiffe://b.test{ENDPOINT}",))
    async with answering(svid_context(forged), ok(b"{}")) as endpoint:
        refused = await refusal_of(by_spiffe(endpoint), known(ca, third))
    assert refused.reason is Reason.FEDERATION_ENDPOINT
    assert endpoint.requests == []


async def test_an_svid_that_openssl_would_take_and_spiffe_does_not_is_refused(ca: MiniCa) -> None:
    svid = ca.issue(ENDPOINT, key_usage={"digital_signature", "key_cert_sign"})
    async with answering(svid_context(svid), ok(b"{}")) as endpoint:
        refused = await refusal_of(by_spiffe(endpoint), known(ca))
    assert refused.reason is Reason.LEAF_KEY_CERT_SIGN
    assert endpoint.requests == []


async def test_without_a_bundle_of_the_endpoints_trust_domain_nobody_is_dialled(ca: MiniCa) -> None:
    async with answering(svid_context(ca.issue(ENDPOINT)), ok(b"{}")) as endpoint:
        unknown = await refusal_of(by_spiffe(endpoint), known(MiniCa("a.test", now=now())))
        empty = await refusal_of(by_spiffe(endpoint), BundleSet((Bundle(B, ()),)))
    assert (unknown.reason, empty.reason) == (Reason.BUNDLE_UNKNOWN, Reason.BUNDLE_EMPTY)


async def test_a_bundle_may_be_served_by_an_endpoint_of_another_trust_domain(ca: MiniCa) -> None:
    """Section 5.2.2.2: not self-serving. Who answers is c.test's; whose bundle it is, is configured."""
    third = MiniCa("c.test", now=now())
    async with answering(svid_context(third.issue(ENDPOINT)), ok(bundle_of(ca).to_json())) as endpoint:
        relationship = by_spiffe(endpoint, SpiffeId(C, ENDPOINT))
        assert (await fetch(relationship, known(third), now)).trust_domain == B
        assert (await refusal_of(relationship, known(ca))).reason is Reason.BUNDLE_UNKNOWN


# -- https_web: who the endpoint is -------------------------------------------------------------------------


async def test_a_certificate_for_the_host_by_a_trusted_authority_is_believed(
    ca: MiniCa, tmp_path: Path
) -> None:
    certificate, key, authority = write_web_files(MiniCa("web", now=now()), tmp_path, LOOPBACK)
    async with answering(web_context(certificate, key), ok(bundle_of(ca).to_json())) as endpoint:
        relationship = FederatesWith(B, endpoint.url, HttpsWeb(authority))
        assert await fetch(relationship, BundleSet(), now) == bundle_of(ca)


@pytest.mark.parametrize("name", [x509.DNSName("b.test"), x509.IPAddress(IPv4Address("127.0.0.2"))])
async def test_a_certificate_for_another_host_is_not(tmp_path: Path, name: x509.GeneralName) -> None:
    certificate, key, authority = write_web_files(MiniCa("web", now=now()), tmp_path, name)
    async with answering(web_context(certificate, key), ok(b"{}")) as endpoint:
        refused = await refusal_of(FederatesWith(B, endpoint.url, HttpsWeb(authority)), BundleSet())
    assert refused.reason is Reason.FEDERATION_ENDPOINT
    assert endpoint.requests == []


async def test_the_systems_authorities_do_not_know_a_private_one(tmp_path: Path) -> None:
    certificate, key, _ = write_web_files(MiniCa("web", now=now()), tmp_path, LOOPBACK)
    async with answering(web_context(certificate, key), ok(b"{}")) as endpoint:
        refused = await refusal_of(FederatesWith(B, endpoint.url, HttpsWeb()), BundleSet())
    assert refused.reason is Reason.FEDERATION_ENDPOINT
    assert endpoint.requests == []


async def test_bundles_say_nothing_about_web_pki(ca: MiniCa) -> None:
    """Profiles are never mixed (section 7.2): an SVID is no certificate for a host."""
    async with answering(svid_context(ca.issue(ENDPOINT)), ok(b"{}")) as endpoint:
        refused = await refusal_of(FederatesWith(B, endpoint.url, HttpsWeb()), known(ca))
    assert refused.reason is Reason.FEDERATION_ENDPOINT


@pytest.mark.parametrize("content", [None, b"not PEM"])
async def test_a_file_of_authorities_that_is_none_is_a_wrong_relationship(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    async with answering(svid_context(MiniCa("b.test", now=now()).issue()), b"") as endpoint:
        refused = await refusal_of(FederatesWith(B, endpoint.url, HttpsWeb(file)), BundleSet())
    assert refused.reason is Reason.FEDERATION_RELATIONSHIP


# -- answers ------------------------------------------------------------------------------------------------


ANSWERS: dict[str, tuple[bytes, Reason]] = {
    "not found": (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Reason.FEDERATION_ANSWER),
    "too large": (ok(b" " * (MAX_BYTES + 1)), Reason.FEDERATION_ANSWER),
    "no HTTP": (b"hello\r\n\r\n", Reason.UPSTREAM_BROKEN),
    "cut short": (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", Reason.UPSTREAM_BROKEN),
    "no JSON": (ok(b"<html>"), Reason.JSON_MALFORMED),
    "no bundle": (ok(b"{}"), Reason.BUNDLE_DOCUMENT),
    "compressed": (ok(b"\x1f\x8b\x08\x00"), Reason.JSON_NOT_UTF8),
    "two of one key": (ok(b'{"keys":[],"keys":[]}'), Reason.JSON_DUPLICATE_KEY),
}


@pytest.mark.parametrize(("answer", "reason"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_is_no_bundle_is_refused(ca: MiniCa, answer: bytes, reason: Reason) -> None:
    async with answering(svid_context(ca.issue(ENDPOINT)), answer) as endpoint:
        assert (await refusal_of(by_spiffe(endpoint), known(ca))).reason is reason


@pytest.mark.parametrize("status", [b"301 Moved Permanently", b"302 Found", b"307 Temporary Redirect"])
async def test_a_redirect_is_never_followed(ca: MiniCa, status: bytes) -> None:
    async with answering(svid_context(ca.issue(ENDPOINT)), ok(bundle_of(ca).to_json())) as target:
        head = b"HTTP/1.1 %s\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n" % (
            status,
            str(target.url).encode(),
        )
        async with answering(svid_context(ca.issue(ENDPOINT)), head) as endpoint:
            refused = await refusal_of(by_spiffe(endpoint), known(ca))
        assert refused.reason is Reason.FEDERATION_ANSWER
        assert target.requests == []


async def test_an_endpoint_that_says_nothing_is_not_waited_for(
    ca: MiniCa, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_client, "TIMEOUT", 0.2)
    hold = asyncio.Event()
    async with answering(svid_context(ca.issue(ENDPOINT)), b"", hold) as endpoint:
        refused = await refusal_of(by_spiffe(endpoint), known(ca))
        assert refused.reason is Reason.FEDERATION_UNREACHABLE
        hold.set()


async def test_an_endpoint_that_is_not_there_is_unreachable(ca: MiniCa) -> None:
    async with answering(svid_context(ca.issue(ENDPOINT)), b"") as endpoint:
        pass
    assert (await refusal_of(by_spiffe(endpoint), known(ca))).reason is Reason.FEDERATION_UNREACHABLE


# -- what becomes of a bundle -------------------------------------------------------------------------------


FEDERATED = Entry(SpiffeId(A, "/federated"), os.getuid(), federates_with=frozenset({B}))
ALONE = Entry(SpiffeId(A, "/alone"), os.getuid())


@asynccontextmanager
async def following(
    folder: Path, endpoint: Endpoint, *entries: Entry, bootstrap: SpiffeBundle | None = None
) -> AsyncIterator[Provider]:
    """A provider of a.test that follows `endpoint`. The bootstrap bundle is at `b.json`, or will be."""
    file = folder / "b.json"
    if bootstrap is not None:
        file.write_bytes(bootstrap.to_json())
    relationship = FederatesWith(B, endpoint.url, HttpsSpiffe(SpiffeId(B, ENDPOINT), file))
    federation = Federation((relationship,))
    async with Provider(
        A, folder / "a.sock", entries or (FEDERATED,), clock=now, federation=federation
    ) as provider:
        yield provider


async def fetched(provider: Provider, bundle: SpiffeBundle) -> None:
    """Until `bundle` is in force."""
    async with asyncio.timeout(20):
        await provider.until(lambda issued: issued.foreign.get(B) == bundle)


async def until_asked_again(provider: Provider, endpoint: Endpoint) -> None:
    """Until the endpoint has got another request, and its answer was dealt with, for one more has come."""
    for _ in range(2):
        endpoint.asked.clear()
        while not endpoint.asked.is_set():
            provider.refresh()
            await asyncio.sleep(0)


async def test_trust_begins_with_the_bootstrap_bundle_and_goes_on_with_what_was_fetched(
    folder: Path, ca: MiniCa
) -> None:
    served = bundle_of(ca, sequence=2)
    async with (
        answering(svid_context(ca.issue(ENDPOINT)), ok(served.to_json())) as endpoint,
        following(folder, endpoint, bootstrap=bundle_of(ca)) as provider,
    ):
        await fetched(provider, served)


async def test_the_bootstrap_bundle_may_come_later(folder: Path, ca: MiniCa) -> None:
    served = bundle_of(ca, sequence=2)
    async with (
        answering(svid_context(ca.issue(ENDPOINT)), ok(served.to_json())) as endpoint,
        following(folder, endpoint) as provider,
    ):
        assert endpoint.requests == []
        (folder / "b.json").write_bytes(bundle_of(ca).to_json())
        provider.refresh()
        await fetched(provider, served)


async def test_a_key_that_was_fetched_authenticates_the_endpoint_from_then_on(
    folder: Path, ca: MiniCa
) -> None:
    """Section 5.2.2.4: the latest available bundle, or the endpoint could never rotate its own authority."""
    new = MiniCa("b.test", now=now())
    both = SpiffeBundle(Bundle(B, (*ca.bundle_der, *new.bundle_der)), sequence=2)
    context = svid_context(ca.issue(ENDPOINT))
    async with (
        answering(context, ok(both.to_json())) as endpoint,
        following(folder, endpoint, bootstrap=bundle_of(ca)) as provider,
    ):
        await fetched(provider, both)
        final = bundle_of(new, sequence=3)
        endpoint.answer = ok(final.to_json())
        from_now_on = svid_context(new.issue(ENDPOINT))
        context.sni_callback = lambda tls, _name, _: setattr(tls, "context", from_now_on)
        provider.refresh()
        await fetched(provider, final)


async def test_an_outage_leaves_the_last_good_bundle_in_force(folder: Path, ca: MiniCa) -> None:
    served = bundle_of(ca, sequence=2)
    async with (
        answering(svid_context(ca.issue(ENDPOINT)), ok(served.to_json())) as endpoint,
        following(folder, endpoint, bootstrap=bundle_of(ca)) as provider,
    ):
        await fetched(provider, served)
        for broken in (b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n", ok(b"garbage"), ok(b"{}")):
            endpoint.answer = broken
            await until_asked_again(provider, endpoint)
            assert provider.issued.foreign[B] == served
        better = bundle_of(ca, sequence=3)
        endpoint.answer = ok(better.to_json())
        provider.refresh()
        await fetched(provider, better)


async def test_an_older_bundle_is_not_taken(folder: Path, ca: MiniCa) -> None:
    served = bundle_of(ca, sequence=5)
    async with (
        answering(svid_context(ca.issue(ENDPOINT)), ok(served.to_json())) as endpoint,
        following(folder, endpoint, bootstrap=bundle_of(ca)) as provider,
    ):
        await fetched(provider, served)
        endpoint.answer = ok(bundle_of(ca, sequence=4).to_json())
        await until_asked_again(provider, endpoint)
        assert provider.issued.foreign[B] == served


async def test_an_empty_bundle_is_taken_and_nobody_is_trusted_any_more(folder: Path, ca: MiniCa) -> None:
    """Section 4.1.3: every key was revoked. Its endpoint, too, is nobody then."""
    empty = SpiffeBundle(Bundle(B, ()), sequence=9)
    async with (
        answering(svid_context(ca.issue(ENDPOINT)), ok(empty.to_json())) as endpoint,
        following(folder, endpoint, bootstrap=bundle_of(ca)) as provider,
    ):
        await fetched(provider, empty)
        count = len(endpoint.requests)
        provider.refresh()
        async with messages(provider) as svids, messages(provider, "FetchJWTBundles") as jwt:
            assert foreign_of(await svids.read()) == {}
            assert foreign_of(await jwt.read()) == {"spiffe://b.test": b'{"keys":[]}'}
        assert len(endpoint.requests) == count


async def test_a_client_that_cannot_read_an_empty_bundle_learns_of_it_all_the_same(
    folder: Path, ca: MiniCa
) -> None:
    empty = SpiffeBundle(Bundle(B, ()), sequence=9)

    def trust_domains(address: str) -> list[str]:
        with WorkloadApiClient(address, default_timeout=10) as client:
            return [str(bundle.trust_domain) for bundle in client.fetch_x509_bundles().bundles]

    async with (
        answering(svid_context(ca.issue(ENDPOINT)), ok(empty.to_json())) as endpoint,
        following(folder, endpoint, bootstrap=bundle_of(ca)) as provider,
    ):
        await fetched(provider, empty)
        assert await asyncio.to_thread(trust_domains, provider.address) == ["a.test"]


async def test_the_operators_own_bundle_is_taken_when_it_changes(folder: Path, ca: MiniCa) -> None:
    """The other side lost its authority and began anew, with a lower sequence."""
    served = bundle_of(ca, sequence=5)
    async with (
        answering(svid_context(ca.issue(ENDPOINT)), ok(served.to_json())) as endpoint,
        following(folder, endpoint, bootstrap=bundle_of(ca)) as provider,
    ):
        await fetched(provider, served)
        anew = bundle_of(MiniCa("b.test", now=now()), sequence=1)
        (folder / "b.json").write_bytes(anew.to_json())
        provider.refresh()
        await fetched(provider, anew)


async def test_a_broken_file_of_the_operator_disturbs_nothing(folder: Path, ca: MiniCa) -> None:
    served, better = bundle_of(ca, sequence=5), bundle_of(ca, sequence=6)
    async with (
        answering(svid_context(ca.issue(ENDPOINT)), ok(served.to_json())) as endpoint,
        following(folder, endpoint, bootstrap=bundle_of(ca)) as provider,
    ):
        await fetched(provider, served)
        (folder / "b.json").write_bytes(b"half a bun")
        endpoint.answer = ok(better.to_json())
        provider.refresh()
        await fetched(provider, better)


async def test_a_missing_bootstrap_is_reported_once(
    folder: Path, ca: MiniCa, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        answering(svid_context(ca.issue(ENDPOINT)), b"") as endpoint,
        following(folder, endpoint) as provider,
    ):
        while Reason.FEDERATION_BOOTSTRAP.code not in caplog.text:  # noqa: ASYNC110  a log has no event
            await asyncio.sleep(0)
        for _ in range(3):
            provider.refresh()
            await asyncio.sleep(0)
    assert caplog.text.count(Reason.FEDERATION_BOOTSTRAP.code) == 1


# -- what workloads are told --------------------------------------------------------------------------------


@asynccontextmanager
async def messages(provider: Provider, method: str = "FetchX509SVID") -> AsyncIterator[Any]:
    """An open stream of the Workload API."""
    requests = {
        "FetchX509SVID": pb.X509SVIDRequest(),
        "FetchX509Bundles": pb.X509BundlesRequest(),
        "FetchJWTBundles": pb.JWTBundlesRequest(),
    }
    async with grpc.aio.insecure_channel(provider.address.replace("unix://", "unix:")) as channel:
        api: Any = pb_grpc.SpiffeWorkloadAPIStub(channel)  # type: ignore[no-untyped-call]  # generated code
        stream = getattr(api, method)(requests[method], metadata=HEADER)
        yield stream
        stream.cancel()


def foreign_of(message: Any) -> dict[str, bytes]:
    """The foreign bundles of a message of any stream."""
    whole = getattr(message, "federated_bundles", None)
    found = dict(message.bundles if whole is None else whole)
    return {name: value for name, value in found.items() if name != "spiffe://a.test"}


async def test_a_foreign_bundle_is_pushed_on_every_open_stream_and_taken_back_on_each(
    folder: Path, ca: MiniCa
) -> None:
    served = bundle_of(ca, sequence=2)
    expected: dict[str, Callable[[], bytes]] = {
        "FetchX509SVID": lambda: b"".join(ca.bundle_der),
        "FetchX509Bundles": lambda: b"".join(ca.bundle_der),
        "FetchJWTBundles": served.jwt_json,
    }
    async with (
        answering(svid_context(ca.issue(ENDPOINT)), ok(served.to_json())) as endpoint,
        following(folder, endpoint) as provider,
    ):
        for method, content in expected.items():
            async with messages(provider, method) as stream:
                assert foreign_of(await stream.read()) == {}
                provider.federate(
                    FederatesWith(B, endpoint.url, HttpsSpiffe(SpiffeId(B, ENDPOINT), folder / "b.json"))
                )
                (folder / "b.json").write_bytes(bundle_of(ca).to_json())
                assert foreign_of(await stream.read()) == {"spiffe://b.test": content()}
                provider.defederate(B)
                assert foreign_of(await stream.read()) == {}
            (folder / "b.json").unlink()


async def test_a_user_whose_entries_do_not_federate_is_told_nothing(folder: Path, ca: MiniCa) -> None:
    served = bundle_of(ca, sequence=2)
    async with (
        answering(svid_context(ca.issue(ENDPOINT)), ok(served.to_json())) as endpoint,
        following(folder, endpoint, ALONE, bootstrap=bundle_of(ca)) as provider,
    ):
        await fetched(provider, served)
        async with messages(provider) as svids, messages(provider, "FetchX509Bundles") as bundles:
            assert foreign_of(await svids.read()) == {}
            assert foreign_of(await bundles.read()) == {}


async def test_what_is_on_its_way_when_a_relationship_ends_is_not_taken(folder: Path, ca: MiniCa) -> None:
    hold = asyncio.Event()
    answer = ok(bundle_of(ca, sequence=2).to_json())
    async with (
        answering(svid_context(ca.issue(ENDPOINT)), answer, hold) as endpoint,
        following(folder, endpoint, bootstrap=bundle_of(ca)) as provider,
    ):
        await endpoint.asked.wait()
        assert B in provider.issued.foreign
        hold.set()
        provider.defederate(B)
        assert B not in provider.issued.foreign
        async with messages(provider) as svids:
            assert foreign_of(await svids.read()) == {}
        assert B not in provider.issued.foreign
        provider.defederate(B)  # twice is no error: it is the state that is asked for


async def test_a_provider_does_not_federate_with_itself(folder: Path) -> None:
    async with (
        answering(svid_context(MiniCa("b.test", now=now()).issue()), b"") as endpoint,
        following(folder, endpoint) as provider,
    ):
        with pytest.raises(Refused) as refused:
            provider.federate(FederatesWith(A, endpoint.url, HttpsWeb()))
    assert refused.value.reason is Reason.FEDERATION_RELATIONSHIP
