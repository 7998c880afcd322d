"""Body and header must name one revision, and the route must speak it."""

import json

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.era import (
    LEGACY_VERSIONS,
    MODERN_VERSIONS,
    NEGOTIATING,
    Era,
    Revision,
    VersionRefused,
    decide,
    presumed_era,
    versions_from,
)
from spiffe_mcp.mcp.message import Notification, Request, parse
from spiffe_mcp.strict_json import JsonObject

VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
MODERN: JsonObject = {VERSION: "2026-07-28", CAPABILITIES: {}}
ABSENT: JsonObject = {}


def request(meta: object = None, method: str = "tools/list", **params: object) -> Request:
    if meta is not None:
        params["_meta"] = meta
    message = parse(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
    assert isinstance(message, Request)
    return message


def mirrors(version: str | None) -> dict[bytes, bytes]:
    return {} if version is None else {b"mcp-protocol-version": version.encode()}


def test_a_body_and_a_header_that_say_2026_07_28_are_modern() -> None:
    assert decide(request(MODERN), mirrors("2026-07-28")) == Revision(Era.MODERN, "2026-07-28")


@pytest.mark.parametrize("version", LEGACY_VERSIONS)
def test_a_body_without_a_version_is_legacy_by_its_header(version: str) -> None:
    assert decide(request({"progressToken": 4}), mirrors(version)) == Revision(Era.LEGACY, version)


def test_without_header_and_envelope_the_revision_is_the_one_the_standard_assumes() -> None:
    assert decide(request(), mirrors(None)) == Revision(Era.LEGACY, "2025-03-26")


@pytest.mark.parametrize("version", [None, "2025-11-25"])
def test_initialize_negotiates(version: str | None) -> None:
    message = request(method="initialize", protocolVersion="2099-01-01")
    assert decide(message, mirrors(version)) is NEGOTIATING


def test_a_modern_notification_needs_no_envelope() -> None:
    message = Notification(b"", "notifications/cancelled", None)
    assert decide(message, mirrors("2026-07-28")).era is Era.MODERN


@pytest.mark.parametrize(
    ("meta", "header", "reason"),
    [
        pytest.param(MODERN, None, Reason.MCP_VERSION_MISMATCH, id="modern body, no header"),
        pytest.param(MODERN, "2025-11-25", Reason.MCP_VERSION_MISMATCH, id="modern body, legacy header"),
        pytest.param(MODERN, "2026-07-28 ", Reason.MCP_VERSION_MISMATCH, id="not trimmed by anybody"),
        pytest.param(MODERN, "", Reason.MCP_VERSION_MISMATCH, id="empty header"),
        pytest.param(ABSENT, "2026-07-28", Reason.MCP_META_MISSING, id="modern header, bare _meta"),
        pytest.param(None, "2026-07-28", Reason.MCP_META_MISSING, id="modern header, no _meta"),
        pytest.param({VERSION: "2026-07-28"}, "2026-07-28", Reason.MCP_META_MISSING, id="no capabilities"),
        pytest.param(
            {**MODERN, CAPABILITIES: None}, "2026-07-28", Reason.MCP_META_MALFORMED, id="null capabilities"
        ),
        pytest.param(
            {**MODERN, VERSION: 20260728}, "20260728", Reason.MCP_META_MALFORMED, id="version no string"
        ),
        pytest.param("x", "2026-07-28", Reason.MCP_META_MALFORMED, id="_meta no object"),
        pytest.param(
            {**MODERN, VERSION: "2099-01-01"}, "2099-01-01", Reason.MCP_VERSION_UNSUPPORTED, id="unknown"
        ),
        pytest.param(
            {**MODERN, VERSION: "2025-11-25"},
            "2025-11-25",
            Reason.MCP_VERSION_UNSUPPORTED,
            id="legacy version in a modern envelope",
        ),
        pytest.param(None, "2099-01-01", Reason.MCP_VERSION_UNSUPPORTED, id="unknown header, no envelope"),
        pytest.param(None, "", Reason.MCP_VERSION_UNSUPPORTED, id="empty header, no envelope"),
    ],
)
def test_disagreement_and_unknown_versions_are_refused(
    meta: object, header: str | None, reason: Reason
) -> None:
    with pytest.raises(Refused) as refused:
        decide(request(meta), mirrors(header))
    assert refused.value.reason is reason


def test_initialize_under_a_modern_header_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        decide(request(method="initialize"), mirrors("2026-07-28"))
    assert refused.value.reason is Reason.MCP_META_MISSING


@pytest.mark.parametrize(
    ("message", "header"),
    [
        pytest.param(request(method="initialize"), None, id="initialize"),
        pytest.param(request(), None, id="a call without version"),
        pytest.param(request(), "2025-11-25", id="a legacy call"),
    ],
)
def test_an_era_below_the_minimum_is_refused_and_told_what_is_spoken(
    message: Request, header: str | None
) -> None:
    with pytest.raises(VersionRefused) as refused:
        decide(message, mirrors(header), versions_from(Era.MODERN))
    assert (refused.value.reason, refused.value.supported) == (Reason.MCP_ERA_BELOW_MINIMUM, MODERN_VERSIONS)


def test_without_a_minimum_every_version_is_spoken() -> None:
    assert versions_from(Era.LEGACY) == (*MODERN_VERSIONS, *LEGACY_VERSIONS)


@pytest.mark.parametrize(
    ("message", "header", "supported"),
    [
        pytest.param(request(), None, ("2025-11-25",), id="no header where 2025-03-26 is not spoken"),
        pytest.param(request(MODERN), "2026-07-28", LEGACY_VERSIONS, id="modern on a legacy-only route"),
    ],
)
def test_a_route_refuses_versions_it_does_not_speak(
    message: Request, header: str | None, supported: tuple[str, ...]
) -> None:
    with pytest.raises(Refused) as refused:
        decide(message, mirrors(header), supported)
    assert refused.value.reason is Reason.MCP_VERSION_UNSUPPORTED


def test_whoever_names_an_unknown_version_is_told_those_that_can_be_named() -> None:
    message = parse(
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"%s":"2099-01-01"}}}' % VERSION.encode()
    )
    assert isinstance(message, Request)
    with pytest.raises(VersionRefused) as refused:
        decide(message, mirrors("2099-01-01"))
    assert refused.value.supported == MODERN_VERSIONS


def test_the_detail_of_an_unsupported_version_is_what_the_caller_asked_for() -> None:
    with pytest.raises(Refused) as refused:
        decide(request(method="initialize", protocolVersion="2025-06-18"), mirrors(None), MODERN_VERSIONS)
    assert refused.value.detail == "2025-06-18"


@pytest.mark.parametrize(
    ("body", "era"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"%s":1}}}' % VERSION.encode(), Era.MODERN),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{}}}', Era.LEGACY),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":[]}}', Era.LEGACY),
        (b'{"jsonrpc":"2.0","method":"x"}', Era.LEGACY),
        (b'{"jsonrpc":"2.0","id":1,"result":{"_meta":{}}}', Era.LEGACY),
    ],
)
def test_the_form_of_an_error_follows_the_envelope(body: bytes, era: Era) -> None:
    assert presumed_era(parse(body)) is era
