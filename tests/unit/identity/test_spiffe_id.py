"""SPIFFE IDs, trust domains, patterns, and who is admitted."""

from typing import Final

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity import AllowedIds, IdPattern, SpiffeId, TrustDomain
from spiffe_mcp.identity.spiffe_id import MAX_ID_BYTES, MAX_TRUST_DOMAIN_BYTES

LONGEST_NAME: Final = "t" * MAX_TRUST_DOMAIN_BYTES
LONGEST_PATH: Final = "/" + "x" * (MAX_ID_BYTES - len("spiffe://a.test/"))


@pytest.mark.parametrize(
    ("uri", "trust_domain", "path"),
    [
        ("spiffe://a.test/w", "a.test", "/w"),
        ("spiffe://a.test/ns/agents/sa/planner", "a.test", "/ns/agents/sa/planner"),
        ("spiffe://A-b_c.9".lower() + "/W-w_w.9", "a-b_c.9", "/W-w_w.9"),
        ("spiffe://a.test/...", "a.test", "/..."),
        ("spiffe://1.2.3.4/w", "1.2.3.4", "/w"),
        (f"spiffe://{LONGEST_NAME}/w", LONGEST_NAME, "/w"),
        (f"spiffe://a.test{LONGEST_PATH}", "a.test", LONGEST_PATH),
    ],
)
def test_a_well_formed_id_is_taken_apart_and_spelled_again(uri: str, trust_domain: str, path: str) -> None:
    spiffe_id = SpiffeId.parse(uri)
    assert (str(spiffe_id.trust_domain), spiffe_id.path) == (trust_domain, path)
    assert str(spiffe_id) == uri


MALFORMED: Final = [
    "",
    "spiffe",
    "spiffe:/a.test/w",
    "spiffe:a.test/w",
    "//a.test/w",
    "a.test/w",
    "http://a.test/w",
    "SPIFFE://a.test/w",
    "Spiffe://a.test/w",
    " spiffe://a.test/w",
    "spiffe://",
    "spiffe:///w",
    "spiffe://a.test",
    "spiffe://a.test/",
    "spiffe://a.test//",
    "spiffe://a.test/w/",
    "spiffe://a.test//w",
    "spiffe://a.test/x//w",
    "spiffe://a.test/.",
    "spiffe://a.test/..",
    "spiffe://a.test/./w",
    "spiffe://a.test/x/../w",
    "spiffe://A.test/w",
    "spiffe://a.test:443/w",
    "spiffe://me@a.test/w",
    "spiffe://[::1]/w",
    "spiffe://a%2etest/w",
    "spiffe://a.test/%77",
    "spiffe://a.test/w?x=1",
    "spiffe://a.test/w#x",
    "spiffe://a.test/w\n",
    "spiffe://a.test\n/w",
    "spiffe://a.test/w\x00",
    "spiffe://a.test/w ",
    "spiffe://a.test/w\\x",
    "spiffe://a.test/w;x",
    "spiffe://a.test/*",
    "spiffe://\u0430.test/w",  # a Cyrillic letter that looks like ours
    "spiffe://a.test/\u0661",  # a digit to Unicode, none to us
    f"spiffe://{LONGEST_NAME}t/w",
    f"spiffe://a.test{LONGEST_PATH}x",
]


@pytest.mark.parametrize("uri", MALFORMED)
def test_a_malformed_id_is_refused_and_reported_in_printable_characters(uri: str) -> None:
    with pytest.raises(Refused) as refused:
        SpiffeId.parse(uri)
    assert refused.value.reason is Reason.ID_MALFORMED
    assert refused.value.detail.isprintable()
    assert refused.value.detail.isascii()


@pytest.mark.parametrize(
    "name", ["", "A.test", "a test", "a.test/", "a.test\n", "spiffe://a.test", LONGEST_NAME + "t"]
)
def test_a_malformed_trust_domain_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        TrustDomain(name)
    assert refused.value.reason is Reason.ID_MALFORMED


def test_an_id_cannot_be_built_from_a_malformed_path() -> None:
    with pytest.raises(Refused):
        SpiffeId(TrustDomain("a.test"), "w")


@pytest.mark.parametrize(
    ("pattern", "uri", "matches"),
    [
        ("spiffe://a.test/ns/a", "spiffe://a.test/ns/a", True),
        ("spiffe://a.test/ns/a", "spiffe://a.test/ns/ab", False),
        ("spiffe://a.test/ns/a", "spiffe://a.test/ns/a/b", False),
        ("spiffe://a.test/ns/a", "spiffe://a.test/ns", False),
        ("spiffe://a.test/ns/a", "spiffe://b.test/ns/a", False),
        ("spiffe://a.test/ns/a", "spiffe://a.test/ns/A", False),
        ("spiffe://a.test/ns/*", "spiffe://a.test/ns/a", True),
        ("spiffe://a.test/ns/*", "spiffe://a.test/ns/a/b", False),
        ("spiffe://a.test/ns/*", "spiffe://a.test/ns", False),
        ("spiffe://a.test/ns/*/sa/w", "spiffe://a.test/ns/a/sa/w", True),
        ("spiffe://a.test/ns/*/sa/w", "spiffe://a.test/ns/a/b/sa/w", False),
        ("spiffe://a.test/ns/*/sa/w", "spiffe://a.test/ns/a/sa/x", False),
        ("spiffe://a.test/**", "spiffe://a.test/w", True),
        ("spiffe://a.test/**", "spiffe://a.test/a/b/c", True),
        ("spiffe://a.test/**", "spiffe://a.test.evil/w", False),
        ("spiffe://a.test/ns/**", "spiffe://a.test/ns/a/b", True),
        ("spiffe://a.test/ns/**", "spiffe://a.test/ns", False),
        ("spiffe://a.test/ns/**", "spiffe://a.test/nsx/a", False),
        ("spiffe://a.test/*/**", "spiffe://a.test/a", False),
        ("spiffe://a.test/*/**", "spiffe://a.test/a/b", True),
    ],
)
def test_a_pattern_matches_by_whole_segments(pattern: str, uri: str, matches: bool) -> None:
    assert IdPattern.parse(pattern).matches(SpiffeId.parse(uri)) is matches


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "**",
        "spiffe://*/w",
        "spiffe://**",
        "spiffe://a.test",
        "spiffe://a.test/",
        "spiffe://*.test/w",
        "spiffe://a.test/**/w",
        "spiffe://a.test/a*",
        "spiffe://a.test/***",
        "spiffe://a.test//w",
        "spiffe://a.test/../w",
        "spiffe://a.test/w\n",
        "spiffe://A.test/w",
    ],
)
def test_a_malformed_pattern_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        IdPattern.parse(text)
    assert refused.value.reason is Reason.ID_MALFORMED


@pytest.mark.parametrize("text", ["spiffe://a.test/w", "spiffe://a.test/*", "spiffe://a.test/ns/**"])
def test_a_pattern_is_spelled_as_it_was_written(text: str) -> None:
    assert str(IdPattern.parse(text)) == text


@pytest.mark.parametrize("segments", [(), ("",), ("a/b",), ("**", "w"), ("..",)])
def test_a_pattern_cannot_be_built_from_malformed_segments(segments: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refused:
        IdPattern(TrustDomain("a.test"), segments)
    assert refused.value.reason is Reason.ID_MALFORMED


WORKER: Final = SpiffeId.parse("spiffe://a.test/w")


def test_an_empty_list_admits_nobody() -> None:
    with pytest.raises(Refused) as refused:
        AllowedIds().authorize(WORKER)
    assert refused.value.reason is Reason.ID_NOT_AUTHORIZED
    assert refused.value.detail == "spiffe://a.test/w"


def test_any_one_pattern_admits() -> None:
    AllowedIds((IdPattern.parse("spiffe://b.test/**"), IdPattern.parse("spiffe://a.test/*"))).authorize(
        WORKER
    )


def test_only_admits_exactly_one_peer() -> None:
    only = AllowedIds.only(WORKER)
    only.authorize(WORKER)
    for other in ("spiffe://a.test/w2", "spiffe://a.test/w/x", "spiffe://b.test/w"):
        with pytest.raises(Refused):
            only.authorize(SpiffeId.parse(other))
