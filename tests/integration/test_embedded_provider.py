"""The embedded provider as SPIFFE clients see it: py-spiffe's own, and bare gRPC where that cannot ask."""

import asyncio
import contextlib
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import grpc.aio
import jwt
import pytest
from spiffe import JwtSource, WorkloadApiClient, X509Source
from spiffe import SpiffeId as PySpiffeId
from spiffe import TrustDomain as PyTrustDomain
from spiffe._proto import workload_pb2 as pb
from spiffe._proto import workload_pb2_grpc as pb_grpc
from spiffe.svid.jwt_svid import JwtSvid
from spiffe.workloadapi.errors import FetchJwtSvidError, ValidateJwtSvidError
from spiffe.workloadapi.x509_context import X509Context

from spiffe_mcp.dev.issuance import Entry
from spiffe_mcp.dev.jwt_svid import JwtAuthority
from spiffe_mcp.dev.provider import Provider
from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import SpiffeId, TrustDomain

TRUST_DOMAIN = TrustDomain("mesh.test")
TD_ID = "spiffe://mesh.test"
AI_AGENT = SpiffeId(TRUST_DOMAIN, "/ai-agent")
TOOL = SpiffeId(TRUST_DOMAIN, "/mcp/demo")
HEADER = (("workload.spiffe.io", "true"),)
NOBODY_HERE = 54321  # a uid that no account has


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  a test is a composition root


def provider_at(tmp_path: Path, *entries: Entry, **lifetimes: Any) -> Provider:
    mine = (Entry(AI_AGENT, os.getuid()), Entry(TOOL, os.getuid(), hint="tool"))
    return Provider(TRUST_DOMAIN, tmp_path / "agent.sock", entries or mine, clock=now, **lifetimes)


class SetClock:
    """A clock that stands still until the test sets it."""

    def __init__(self, time: datetime) -> None:
        self.time = time

    def __call__(self) -> datetime:
        return self.time


# The stub that protobuf generates carries no types.
Stub: TypeAlias = Any
Call: TypeAlias = Callable[[Stub], Any]


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[Provider]:
    async with provider_at(tmp_path) as running:
        yield running


async def asking(provider: Provider, question: Callable[[WorkloadApiClient], Any]) -> Any:
    """What py-spiffe's client answers; it blocks, so it asks from a thread."""

    def ask() -> Any:
        with WorkloadApiClient(provider.address, default_timeout=10) as client:
            return question(client)

    return await asyncio.to_thread(ask)


@contextlib.asynccontextmanager
async def stub(provider: Provider) -> AsyncIterator[Stub]:
    """Bare gRPC, for what py-spiffe's client neither asks nor shows."""
    async with grpc.aio.insecure_channel(provider.address.replace("unix://", "unix:")) as channel:
        yield pb_grpc.SpiffeWorkloadAPIStub(channel)  # type: ignore[no-untyped-call]  # generated code


async def refused(provider: Provider, call: Call) -> tuple[grpc.StatusCode, str]:
    """The status that `call` is refused with, be it a stream or a single answer."""
    async with stub(provider) as ask:
        calling = call(ask)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await (calling.read() if hasattr(calling, "read") else calling)
    return error.value.code(), error.value.details() or ""


def validating(token: str, audience: str) -> Call:
    request = pb.ValidateJWTSVIDRequest(svid=token, audience=audience)
    return lambda ask: ask.ValidateJWTSVID(request, metadata=HEADER)


async def first_svids(provider: Provider) -> pb.X509SVIDResponse:
    async with stub(provider) as ask:
        stream = ask.FetchX509SVID(pb.X509SVIDRequest(), metadata=HEADER)
        message: pb.X509SVIDResponse = await stream.read()
        stream.cancel()
        return message


async def test_a_client_gets_every_svid_of_its_user_in_order_of_registration(provider: Provider) -> None:
    svids = await asking(provider, lambda client: client.fetch_x509_svids())
    assert [str(svid.spiffe_id) for svid in svids] == [str(AI_AGENT), str(TOOL)]
    for svid in svids:
        assert svid.leaf.public_key() == svid.private_key.public_key()


async def test_the_bundle_verifies_the_svid(provider: Provider) -> None:
    context: X509Context = await asking(provider, lambda client: client.fetch_x509_context())
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(PyTrustDomain("mesh.test"))
    assert bundle is not None
    (root,) = bundle.x509_authorities
    context.default_svid.leaf.verify_directly_issued_by(root)


async def test_bundles_alone_are_keyed_by_the_spiffe_id_of_the_trust_domain(provider: Provider) -> None:
    found = await asking(provider, lambda client: client.fetch_x509_bundles())
    assert [bundle.trust_domain for bundle in found.bundles] == [PyTrustDomain("mesh.test")]
    async with stub(provider) as ask:
        async for message in ask.FetchX509Bundles(pb.X509BundlesRequest(), metadata=HEADER):
            assert list(message.bundles) == [TD_ID]
            break
        async for message in ask.FetchJWTBundles(pb.JWTBundlesRequest(), metadata=HEADER):
            assert list(message.bundles) == [TD_ID]
            break


async def test_a_jwt_svid_verifies_with_the_bundle_and_with_the_provider(provider: Provider) -> None:
    def question(client: WorkloadApiClient) -> tuple[JwtSvid, JwtSvid]:
        fetched = client.fetch_jwt_svid({"tools"})
        bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(PyTrustDomain("mesh.test"))
        assert bundle is not None
        return (
            JwtSvid.parse_and_validate(fetched.token, bundle, {"tools"}),
            client.validate_jwt_svid(fetched.token, "tools"),
        )

    by_bundle, by_provider = await asking(provider, question)
    assert str(by_bundle.spiffe_id) == str(by_provider.spiffe_id) == str(AI_AGENT)


async def test_the_sources_of_py_spiffe_work_against_it(provider: Provider) -> None:
    def use() -> tuple[str, str]:
        with (
            X509Source(socket_path=provider.address, timeout_in_seconds=10) as certificates,
            JwtSource(socket_path=provider.address, timeout_in_seconds=10) as tokens,
        ):
            token = tokens.fetch_svid({"tools"}, PySpiffeId(str(TOOL)))
            return str(certificates.get_x509_context().default_svid.spiffe_id), str(token.spiffe_id)

    assert await asyncio.to_thread(use) == (str(AI_AGENT), str(TOOL))


async def test_each_identity_of_a_user_has_its_own_token_and_a_foreign_one_is_denied(
    provider: Provider,
) -> None:
    svids = await asking(provider, lambda client: client.fetch_jwt_svids({"tools"}))
    assert [str(svid.spiffe_id) for svid in svids] == [str(AI_AGENT), str(TOOL)]
    with pytest.raises(FetchJwtSvidError, match="PERMISSION_DENIED"):
        await asking(provider, lambda client: client.fetch_jwt_svid({"t"}, PySpiffeId(f"{TD_ID}/other")))


async def test_validation_refuses_another_audience_and_an_expired_token(tmp_path: Path) -> None:
    async with provider_at(tmp_path, jwt_svid_ttl=timedelta(seconds=2)) as provider:
        svid = await asking(provider, lambda client: client.fetch_jwt_svid({"tools"}))
        with pytest.raises(ValidateJwtSvidError, match="INVALID_ARGUMENT"):
            await asking(provider, lambda client: client.validate_jwt_svid(svid.token, "other"))
        authority = provider.issued.authorities.signing.jwt
        expired = authority.sign(
            AI_AGENT, ["tools"], now=now() - timedelta(minutes=1), ttl=timedelta(seconds=2)
        )
        status = await refused(provider, validating(expired, "tools"))
        assert status == (grpc.StatusCode.INVALID_ARGUMENT, "jwt_svid.expired: expired, or without an expiry")


async def test_validation_refuses_a_foreign_key_and_another_algorithm(provider: Provider) -> None:
    claims = {"sub": str(AI_AGENT), "aud": ["tools"], "exp": now() + timedelta(minutes=1)}
    key_id = provider.issued.authorities.signing.jwt.key_id
    forged = jwt.encode(claims, "k" * 32, "HS256", headers={"kid": key_id})
    code, detail = await refused(provider, validating(forged, "tools"))
    assert (code, detail.split(":")[0]) == (grpc.StatusCode.INVALID_ARGUMENT, "jwt_svid.algorithm")
    other = JwtAuthority.generate(TRUST_DOMAIN)
    foreign = other.sign(AI_AGENT, ["tools"], now=now(), ttl=timedelta(minutes=1))
    code, detail = await refused(provider, validating(foreign, "tools"))
    assert (code, detail.split(":")[0]) == (grpc.StatusCode.INVALID_ARGUMENT, "jwt_svid.key_unknown")


async def test_validation_hands_over_the_claims(provider: Provider) -> None:
    async with stub(provider) as ask:
        response = await ask.FetchJWTSVID(pb.JWTSVIDRequest(audience=["tools"]), metadata=HEADER)
        token = response.svids[0].svid
        request = pb.ValidateJWTSVIDRequest(svid=token, audience="tools")
        answer = await ask.ValidateJWTSVID(request, metadata=HEADER)
    assert answer.spiffe_id == str(AI_AGENT)
    assert list(answer.claims["aud"]) == ["tools"]
    assert answer.claims["exp"] - answer.claims["iat"] == 60


async def test_hints_tell_two_svids_apart(provider: Provider) -> None:
    message = await first_svids(provider)
    assert [svid.hint for svid in message.svids] == ["ai-agent", "tool"]


INCOMPLETE: dict[str, Call] = {
    "no audience": lambda ask: ask.FetchJWTSVID(pb.JWTSVIDRequest(), metadata=HEADER),
    "an ID that is none": lambda ask: ask.FetchJWTSVID(
        pb.JWTSVIDRequest(audience=["a"], spiffe_id="joe"), metadata=HEADER
    ),
    "no token": lambda ask: ask.ValidateJWTSVID(pb.ValidateJWTSVIDRequest(audience="a"), metadata=HEADER),
    "no audience to validate": lambda ask: ask.ValidateJWTSVID(
        pb.ValidateJWTSVIDRequest(svid="a.b.c"), metadata=HEADER
    ),
}


@pytest.mark.parametrize("call", INCOMPLETE.values(), ids=INCOMPLETE.keys())
async def test_a_request_without_its_mandatory_fields_is_an_invalid_argument(
    provider: Provider, call: Call
) -> None:
    code, _ = await refused(provider, call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT


EVERY_METHOD: dict[str, Any] = {
    "FetchX509SVID": pb.X509SVIDRequest(),
    "FetchX509Bundles": pb.X509BundlesRequest(),
    "FetchJWTSVID": pb.JWTSVIDRequest(audience=["tools"]),
    "FetchJWTBundles": pb.JWTBundlesRequest(),
    "ValidateJWTSVID": pb.ValidateJWTSVIDRequest(svid="a.b.c", audience="tools"),
}
BAD_HEADERS: dict[str, tuple[tuple[str, str], ...]] = {
    "absent": (),
    "another value": (("workload.spiffe.io", "True"),),
    "twice": (*HEADER, *HEADER),
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
@pytest.mark.parametrize("method", EVERY_METHOD)
async def test_no_call_is_answered_without_the_security_header(
    provider: Provider, method: str, header: tuple[tuple[str, str], ...]
) -> None:
    def call(ask: Any) -> Any:
        return getattr(ask, method)(EVERY_METHOD[method], metadata=header)

    assert await refused(provider, call) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "security header missing from request",
    )


@pytest.mark.parametrize("method", EVERY_METHOD)
async def test_a_user_without_an_entry_is_denied_everything(tmp_path: Path, method: str) -> None:
    def call(ask: Any) -> Any:
        return getattr(ask, method)(EVERY_METHOD[method], metadata=HEADER)

    async with provider_at(tmp_path, Entry(AI_AGENT, NOBODY_HERE)) as provider:
        assert await refused(provider, call) == (grpc.StatusCode.PERMISSION_DENIED, "no identity issued")


# Becomes another user after its imports: the interpreter may stand where that user cannot read.
AS_ANOTHER_USER = """
import os, sys
from spiffe import WorkloadApiClient
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
with WorkloadApiClient(sys.argv[2], default_timeout=10) as client:
    try:
        print(*(svid.spiffe_id for svid in client.fetch_x509_svids()))
    except Exception as error:
        print(error)
"""


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("registered", "seen"), [(NOBODY_HERE, str(TOOL)), (NOBODY_HERE + 1, "PERMISSION_DENIED")]
)
async def test_the_kernel_says_which_user_asks(open_directory: Path, registered: int, seen: str) -> None:
    entries = (Entry(AI_AGENT, os.getuid()), Entry(TOOL, registered))
    async with provider_at(open_directory, *entries) as provider:
        command = [sys.executable, "-c", AS_ANOTHER_USER, str(NOBODY_HERE), provider.address]
        ran = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=30, check=True
        )
    assert seen in ran.stdout
    assert str(AI_AGENT) not in ran.stdout


async def test_a_rotation_is_pushed_to_an_open_stream(provider: Provider) -> None:
    contexts: queue.Queue[X509Context] = queue.Queue()

    def watch() -> tuple[X509Context, X509Context]:
        with WorkloadApiClient(provider.address) as client:
            stream = client.stream_x509_contexts(contexts.put, lambda _: None)
            before = contexts.get(timeout=10)
            loop.call_soon_threadsafe(provider.rotate)
            after = contexts.get(timeout=10)
            stream.cancel()
            return before, after

    loop = asyncio.get_running_loop()
    before, after = await asyncio.to_thread(watch)
    assert before.default_svid.spiffe_id == after.default_svid.spiffe_id
    assert before.default_svid.leaf != after.default_svid.leaf


async def test_svids_are_renewed_by_themselves_before_half_of_their_lifetime(tmp_path: Path) -> None:
    """On a clock of its own: the times of certificates are whole seconds, and a busy machine is late."""
    lifetime, clock = timedelta(minutes=1), SetClock(now().replace(microsecond=0))
    mine = (Entry(AI_AGENT, os.getuid()),)
    provider = Provider(TRUST_DOMAIN, tmp_path / "agent.sock", mine, clock=clock, svid_ttl=lifetime)
    async with provider, stub(provider) as ask:
        before = provider.issued.svids[mine[0]]
        stream = ask.FetchX509SVID(pb.X509SVIDRequest(), metadata=HEADER)
        first = await stream.read()
        clock.time += lifetime / 2
        second = await stream.read()
        assert first.svids[0].x509_svid != second.svids[0].x509_svid
        renewed = provider.issued.svids[mine[0]]
        assert renewed.not_before == before.not_before + lifetime / 2
        stream.cancel()


async def test_a_new_authority_is_trusted_first_signs_next_and_the_former_can_be_revoked(
    provider: Provider,
) -> None:
    former = provider.issued.authorities.signing.certificate
    async with stub(provider) as ask:
        stream = ask.FetchX509SVID(pb.X509SVIDRequest(), metadata=HEADER)
        first = await stream.read()
        provider.rotate_authority()
        overlapping = await stream.read()
        assert len(overlapping.svids[0].bundle) > len(first.svids[0].bundle)
        assert overlapping.svids[0].x509_svid == first.svids[0].x509_svid
        provider.rotate()
        moved = await stream.read()
        assert moved.svids[0].bundle == overlapping.svids[0].bundle
        provider.revoke_former_authorities()
        revoked = await stream.read()
        assert [revoked.svids[0].bundle] == [*provider.issued.own.x509.authorities_der]
        stream.cancel()
    assert former not in [one.certificate for one in provider.issued.authorities.trusted]


async def test_a_bundle_stream_is_silent_about_what_does_not_change_it(provider: Provider) -> None:
    async with stub(provider) as ask:
        stream = ask.FetchX509Bundles(pb.X509BundlesRequest(), metadata=HEADER)
        first = await stream.read()
        provider.rotate()
        await first_svids(provider)  # the rotation has reached every stream by then
        provider.rotate_authority()
        second = await stream.read()
        assert len(second.bundles[TD_ID]) > len(first.bundles[TD_ID])
        stream.cancel()


async def test_stopping_ends_open_streams_as_unavailable(tmp_path: Path) -> None:
    provider = provider_at(tmp_path)
    async with contextlib.AsyncExitStack() as running:
        await running.enter_async_context(provider)
        async with stub(provider) as ask:
            streams = [
                ask.FetchX509SVID(pb.X509SVIDRequest(), metadata=HEADER),
                ask.FetchX509Bundles(pb.X509BundlesRequest(), metadata=HEADER),
                ask.FetchJWTBundles(pb.JWTBundlesRequest(), metadata=HEADER),
            ]
            for stream in streams:
                await stream.read()
            await running.aclose()
            for stream in streams:
                assert await stream.code() is grpc.StatusCode.UNAVAILABLE
                assert await stream.details() == "the provider is stopping"


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    async def run() -> None:
        async with provider_at(tmp_path):
            assert [path.name for path in tmp_path.iterdir()] == ["agent.sock"]  # noqa: ASYNC240  nothing else runs

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


async def test_a_provider_can_follow_another_on_the_same_socket(tmp_path: Path) -> None:
    for _ in range(2):
        async with provider_at(tmp_path) as provider:
            assert len((await first_svids(provider)).svids) == 2


async def test_two_providers_do_not_share_a_socket(tmp_path: Path) -> None:
    async with provider_at(tmp_path) as provider:
        with pytest.raises(Refused) as refusal:
            async with provider_at(tmp_path):
                pass
        assert refusal.value.reason is Reason.DEV_SOCKET
        assert len((await first_svids(provider)).svids) == 2


LIFETIMES = {
    "an SVID of one second": {"svid_ttl": timedelta(seconds=1)},
    "a JWT-SVID of no time": {"jwt_svid_ttl": timedelta()},
    "an authority that ends with its SVIDs": {"authority_ttl": timedelta(minutes=9)},
}


@pytest.mark.parametrize("lifetimes", LIFETIMES.values(), ids=LIFETIMES.keys())
def test_lifetimes_that_cannot_work_are_refused(tmp_path: Path, lifetimes: dict[str, timedelta]) -> None:
    with pytest.raises(Refused) as refusal:
        provider_at(tmp_path, **lifetimes)
    assert refusal.value.reason is Reason.DEV_LIFETIME
