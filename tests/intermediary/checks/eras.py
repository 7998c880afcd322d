"""Points 7 to 12: one era for body and headers; headers that say what the body says; codes one may use."""

import json
from typing import Final

from tests.intermediary.check import Bench, Need, check
from tests.intermediary.client import Outgoing
from tests.intermediary.mcp import (
    EARLIER,
    LEGACY,
    MODERN,
    call,
    initialize,
    legacy,
    legacy_call,
    modern,
    sentinel,
)

HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022
GOOD: Final = call("echo", text="suite-era")


def without_meta(request: Outgoing, *keys: str) -> Outgoing:
    """`request`, whose envelope lacks these keys."""
    message = json.loads(request.body)
    for key in keys:
        del message["params"]["_meta"][f"io.modelcontextprotocol/{key}"]
    return request.saying(json.dumps(message).encode())


@check(7, "Streamable HTTP 2026-07-28, Server Validation: 400 and -32020")
async def a_version_that_header_and_body_disagree_on_is_refused(bench: Bench) -> None:
    for request in (GOOD.replacing("MCP-Protocol-Version", LEGACY), GOOD.without("MCP-Protocol-Version")):
        await bench.refused(request, status=400, code=HEADER_MISMATCH)
    await bench.refused(without_meta(GOOD, "protocolVersion"), status=400)
    await bench.serves()


@check(8, "RFC 9110 section 5.3; SEP-2243")
async def a_mirror_that_comes_twice_is_refused(bench: Bench) -> None:
    twice = (
        ("MCP-Protocol-Version", MODERN), ("Mcp-Method", "tools/call"), ("Mcp-Name", "echo"),
        ("mcp-name", "hidden"), ("MCP-Protocol-Version", LEGACY),
    )  # fmt: skip
    for name, value in twice:
        await bench.refused(GOOD.with_header(name, value), status=400, code=HEADER_MISMATCH)
    parameter = GOOD.with_header("Mcp-Param-Region", "a").with_header("Mcp-Param-Region", "b")
    await bench.refused(parameter, status=400, code=HEADER_MISMATCH)
    await bench.serves()


@check(9, "Streamable HTTP 2026-07-28, Server Validation: 400 and -32020")
async def a_mirror_that_differs_from_the_body_is_refused(bench: Bench) -> None:
    wrong = (
        GOOD.replacing("Mcp-Name", "strict"), GOOD.replacing("Mcp-Name", "Echo"), GOOD.without("Mcp-Name"),
        GOOD.replacing("Mcp-Method", "tools/list"), GOOD.without("Mcp-Method"),
        GOOD.replacing("Mcp-Method", "Tools/Call"), modern("tools/list").with_header("Mcp-Name", "echo"),
    )  # fmt: skip
    for request in wrong:
        await bench.refused(request, status=400, code=HEADER_MISMATCH)
    await bench.serves()


@check(9, "Streamable HTTP 2026-07-28, Value encoding")
async def a_mirror_in_base64_is_read_and_only_in_its_canonical_form(bench: Bench) -> None:
    await bench.passes(GOOD.replacing("Mcp-Name", sentinel(b"echo")))
    for wrong in (b"=?base64?ZWNobw?=", b"=?base64?ZWNobx==?=", b"=?base64?ZW Nobw==?=", b"=?base64?//8=?="):
        await bench.refused(GOOD.replacing("Mcp-Name", wrong), status=400, code=HEADER_MISMATCH)


@check(9, "RFC 9110 sections 5.1 and 5.5")
async def a_mirror_may_be_in_any_case_and_have_white_space_around_it(bench: Bench) -> None:
    await bench.passes(GOOD.without("Mcp-Name").with_header("mCP-nAME", " \techo \t"))


@check(9, "SEP-2243, Security: not trusted input for security-sensitive decisions", Need.POLICY)
async def a_header_alone_authorises_nothing(bench: Bench) -> None:
    """What was seen to pass on three SDKs: the header names what is allowed, the body what is not."""
    for version in EARLIER:
        forged = legacy(
            "tools/call", {"name": "hidden", "arguments": {"text": "suite-forged"}}, version=version
        )
        await bench.refused(forged.with_header("Mcp-Name", "echo"))
        await bench.refused(forged.with_header("Mcp-Name", "echo").without("MCP-Protocol-Version"))
    await bench.refused(GOOD.saying(call("hidden").body))
    await bench.refused(GOOD.saying(legacy_call("hidden").body))


@check(10, "Streamable HTTP 2026-07-28: an unknown Mcp-Param-{Name} MUST be forwarded")
async def a_mirrored_parameter_nobody_knows_reaches_the_server(bench: Bench) -> None:
    mark = len(bench.upstream.received)
    answer = await bench.ask(GOOD.with_header("Mcp-Param-Suite", "some value"))
    assert answer.result
    (received,) = bench.upstream.since(mark)
    assert received.head.values(b"mcp-param-suite") == [b"some value"]


@check(10, "Streamable HTTP 2026-07-28, Server Behavior for Custom Headers", Need.PINNING)
async def a_header_that_mirrors_an_argument_says_what_the_argument_says(bench: Bench) -> None:
    mark = len(bench.upstream.received)
    request = call("routed", region="eu", text="suite-routed")
    assert (await bench.ask(request.with_header("Mcp-Param-Region", "eu"))).result
    assert len(bench.upstream.since(mark)) == 1
    await bench.refused(request, status=400, code=HEADER_MISMATCH)
    await bench.refused(request.with_header("Mcp-Param-Region", "us"), status=400, code=HEADER_MISMATCH)
    await bench.refused(
        request.with_header("Mcp-Param-Region", "eu").with_header("Mcp-Param-Region", "us"), status=400
    )


@check(12, "Streamable HTTP 2026-07-28: 400 and -32022 with data.supported")
async def a_version_nobody_speaks_is_refused_with_the_ones_that_are(bench: Bench) -> None:
    for version in ("2030-01-01", "2026-07-27", "x", "DRAFT-2026-v1"):
        message = json.loads(GOOD.body)
        message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = version
        request = GOOD.saying(json.dumps(message).encode()).replacing("MCP-Protocol-Version", version)
        answer = await bench.refused(request, status=400, code=UNSUPPORTED_VERSION)
        assert MODERN in answer.error["data"]["supported"]
        await bench.refused(legacy_call("echo").replacing("MCP-Protocol-Version", version), status=400)
    await bench.serves()


@check(12, "MCP 2026-07-28 basic/index: 400 and -32602")
async def an_envelope_without_its_keys_is_refused(bench: Bench) -> None:
    await bench.refused(without_meta(GOOD, "clientCapabilities"), status=400, code=-32602)
    await bench.refused(without_meta(GOOD, "protocolVersion", "clientCapabilities"), status=400)


@check(12, "MCP versioning")
async def every_earlier_revision_is_spoken(bench: Bench) -> None:
    for version in EARLIER:
        answer = await bench.ask(initialize(version))
        assert answer.result["protocolVersion"] == version
        params = {"name": "echo", "arguments": {"text": version}}
        session = next((value.decode() for value in answer.head.values(b"mcp-session-id")), None)
        request = legacy("tools/call", params, version=version, session=session)
        assert (await bench.ask(request)).result["content"][0]["text"] == version
