"""Trust policies: closed, unambiguous, and nobody trusted by default."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.identity.spiffe_id import IdPattern, SpiffeId
from spiffe_mcp.manifest.keys import FileSigner
from spiffe_mcp.manifest.model import RiskLevel
from spiffe_mcp.manifest.trust import Rule, Scope, ToolPattern, TrustPolicy
from spiffe_mcp.strict_json import JsonObject
from tests.fakes.publisher import ed25519_pem, p256_pem, policy, policy_json

ACME, BETA = FileSigner.from_pem(p256_pem()), FileSigner.from_pem(ed25519_pem())
TD = "spiffe://mesh.test"


def rule(server: str, *tools: str, signer: str = "acme") -> JsonObject:
    """A rule that trusts one signer."""
    return {"server": TD + server, "tools": [*tools], "signers": [signer]}


def governing(server: str, tool: str, *rules: JsonObject) -> Rule:
    """The rule that governs `tool`, of these."""
    return policy(*rules, acme=ACME, beta=BETA).rule_for(SpiffeId.parse(TD + server), tool)


def test_defaults_are_those_of_the_documentation() -> None:
    found = governing("/a", "t", rule("/a", "*"))

    assert found.signers == {"acme"}
    assert (found.threshold, found.max_risk, found.max_validity, found.min_serial) == (
        1,
        RiskLevel.CRITICAL,
        timedelta(days=120),
        1,
    )


def test_every_member_of_a_rule_is_read() -> None:
    given = rule("/a", "*") | {"signers": ["acme", "beta"], "threshold": 2, "maxRisk": "low"}
    found = governing("/a", "t", given | {"maxValidityDays": 7, "minSerial": 5})

    assert (found.signers, found.threshold) == (frozenset({"acme", "beta"}), 2)
    assert (found.max_risk, found.max_validity, found.min_serial) == (RiskLevel.LOW, timedelta(days=7), 5)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (("/ns/a", "*"), ("/ns/*", "*")),
        (("/ns/a", "*"), ("/**", "*")),
        (("/ns/*", "*"), ("/ns/**", "*")),
        (("/ns/**", "*"), ("/*/**", "*")),
        (("/*/a", "*"), ("/*/*", "*")),
        (("/*/*", "*"), ("/**", "*")),
        (("/ns/a", "get"), ("/ns/a", "get*")),
        (("/ns/a", "get"), ("/ns/a", "*")),
        (("/ns/a", "ge*"), ("/ns/a", "g*")),
        (("/ns/a", "get*"), ("/ns/*", "*")),
        (("/ns/a", "get"), ("/ns/a", "set", "*")),
    ],
)
def test_the_rule_inside_the_other_governs(narrow: tuple[str, ...], wide: tuple[str, ...]) -> None:
    """In whichever order they stand."""
    inner, outer = rule(*narrow, signer="acme"), rule(*wide, signer="beta")

    assert governing("/ns/a", "get", inner, outer).signers == {"acme"}
    assert governing("/ns/a", "get", outer, inner).signers == {"acme"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("/ns/*", "*"), ("/*/a", "*")),
        (("/ns/a", "*"), ("/ns/*", "get")),
        (("/ns/**", "get"), ("/ns/*", "*")),
        (("/ns/**", "*"), ("/*/*", "*")),
    ],
)
def test_two_rules_of_which_neither_is_inside_the_other_are_refused(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    with pytest.raises(Refused) as refusal:
        governing("/ns/a", "get", rule(*one), rule(*other))

    assert refusal.value.reason is Reason.MANIFEST_RULE_AMBIGUOUS


def test_a_third_rule_inside_both_settles_it() -> None:
    inner = rule("/ns/a", "get", signer="beta")

    assert governing("/ns/a", "get", rule("/ns/*", "*"), rule("/*/a", "*"), inner).signers == {"beta"}


@pytest.mark.parametrize(
    ("server", "tool"),
    [
        ("/ns/b", "get"),
        ("/ns/a/b", "get"),
        ("/ns", "get"),
        ("/ns/a", "set"),
        ("/ns/a", "ge"),
        ("/ns/a", "Get"),
    ],
)
def test_what_no_rule_covers_is_refused(server: str, tool: str) -> None:
    with pytest.raises(Refused) as refusal:
        governing(server, tool, rule("/ns/a", "get*"))

    assert refusal.value.reason is Reason.MANIFEST_NO_RULE


def test_a_name_is_not_a_prefix() -> None:
    with pytest.raises(Refused) as refusal:
        governing("/ns/a", "get_all", rule("/ns/a", "get"))

    assert refusal.value.reason is Reason.MANIFEST_NO_RULE


def test_no_rule_reaches_into_another_trust_domain() -> None:
    with pytest.raises(Refused) as refusal:
        policy(rule("/**", "*"), acme=ACME).rule_for(SpiffeId.parse("spiffe://other.test/ns/a"), "t")

    assert refusal.value.reason is Reason.MANIFEST_NO_RULE


def test_a_scope_contains_another_only_if_each_part_does() -> None:
    def scope(server: str, tool: str) -> Scope:
        return Scope(IdPattern.parse(server), ToolPattern(tool))

    wide = scope(f"{TD}/a/**", "get*")
    assert wide.contains(wide)
    assert wide.contains(scope(f"{TD}/a/b/c", "get_x"))
    assert not wide.contains(scope(f"{TD}/a/b", "*"))
    assert not wide.contains(scope(f"{TD}/b/b", "get"))
    assert not wide.contains(scope("spiffe://other.test/a/b", "get"))
    assert not wide.contains(scope(f"{TD}/a", "get"))
    assert not scope(f"{TD}/a/b", "*").contains(scope(f"{TD}/a/b/c", "*"))
    assert not scope(f"{TD}/a/b/c", "*").contains(scope(f"{TD}/a/b", "*"))
    assert not scope(f"{TD}/a/*", "*").contains(scope(f"{TD}/a/**", "*"))
    assert not scope(f"{TD}/a/*/**", "*").contains(scope(f"{TD}/a/**", "*"))
    assert not scope(f"{TD}/a/b", "get").contains(scope(f"{TD}/a/b", "get*"))


Change = Callable[[Any], object]
PEM = ACME.public_key.pem()


def in_rule(**members: object) -> Change:
    """Change members of the first rule."""
    return lambda root: root["rules"][0].update(members)


BENT: dict[str, tuple[Change, str]] = {
    "unknown member": (lambda root: root.update(mode="audit"), "$.mode"),
    "unknown member of a rule": (in_rule(thresholdByRisk={}), "$.rules[0].thresholdByRisk"),
    "misspelt member of a rule": (in_rule(treshold=2), "$.rules[0].treshold"),
    "no version": (lambda root: root.pop("version"), "$.version"),
    "version 2": (lambda root: root.update(version=2), "$.version"),
    "version true": (lambda root: root.update(version=True), "$.version"),
    "version 1.0": (lambda root: root.update(version=1.0), "$.version"),
    "no keys": (lambda root: root.pop("keys"), "$.keys"),
    "empty keys": (lambda root: root.update(keys={}), "$.keys"),
    "keys an array": (lambda root: root.update(keys=[PEM]), "$.keys"),
    "a key that is no string": (lambda root: root["keys"].update(x=5), "$.keys.x"),
    "a key that is no PEM": (lambda root: root["keys"].update(x="key"), "$.keys.x"),
    "one key under two names": (lambda root: root["keys"].update(twin=PEM), "$.keys.twin"),
    "one key under two names, spelt otherwise": (
        lambda root: root["keys"].update(twin=PEM.replace("\n", "\r\n")),
        "$.keys.twin",
    ),
    "too many keys": (lambda root: root.update(keys={f"k{n}": PEM for n in range(65)}), "$.keys"),
    "no rules": (lambda root: root.pop("rules"), "$.rules"),
    "rules an object": (lambda root: root.update(rules={}), "$.rules"),
    "a rule that is no object": (lambda root: root.update(rules=["*"]), "$.rules[0]"),
    "a rule without server": (lambda root: root["rules"][0].pop("server"), "$.rules[0].server"),
    "a rule without tools": (lambda root: root["rules"][0].pop("tools"), "$.rules[0].tools"),
    "a rule without signers": (lambda root: root["rules"][0].pop("signers"), "$.rules[0].signers"),
    "no signer": (in_rule(signers=[]), "$.rules[0].signers"),
    "a signer that nobody named": (in_rule(signers=["eve"]), "$.rules[0].signers"),
    "a signer twice": (in_rule(signers=["acme", "acme"]), "$.rules[0].signers"),
    "signers a string": (in_rule(signers="acme"), "$.rules[0].signers"),
    "no tool": (in_rule(tools=[]), "$.rules[0].tools"),
    "a star inside": (in_rule(tools=["a*b"]), "$.rules[0].tools"),
    "two stars": (in_rule(tools=["a**"]), "$.rules[0].tools"),
    "an empty tool": (in_rule(tools=[""]), "$.rules[0].tools"),
    "a tool that cannot be": (in_rule(tools=["a b"]), "$.rules[0].tools"),
    "any server": (in_rule(server="*"), "$.rules[0].server"),
    "any trust domain": (in_rule(server="spiffe://*/a"), "$.rules[0].server"),
    "a server that is no ID": (in_rule(server="https://mesh.test/a"), "$.rules[0].server"),
    "threshold zero": (in_rule(threshold=0), "$.rules[0].threshold"),
    "threshold true": (in_rule(threshold=True), "$.rules[0].threshold"),
    "threshold out of reach": (in_rule(threshold=3), "$.rules[0].threshold"),
    "unknown risk": (in_rule(maxRisk="extreme"), "$.rules[0].maxRisk"),
    "risk null": (in_rule(maxRisk=None), "$.rules[0].maxRisk"),
    "no validity": (in_rule(maxValidityDays=0), "$.rules[0].maxValidityDays"),
    "endless validity": (in_rule(maxValidityDays=10**6), "$.rules[0].maxValidityDays"),
    "serial zero": (in_rule(minSerial=0), "$.rules[0].minSerial"),
    "two rules for the same": (lambda root: root["rules"].append(dict(root["rules"][0])), "$.rules"),
}


@pytest.mark.parametrize(("change", "path"), BENT.values(), ids=BENT.keys())
def test_a_bent_policy_is_refused_with_the_path(change: Change, path: str) -> None:
    value: Any = policy_json(acme=ACME, beta=BETA)
    change(value)

    with pytest.raises(Refused) as refusal:
        TrustPolicy.parse(json.dumps(value).encode())

    assert refusal.value.reason is Reason.MANIFEST_TRUST_POLICY
    assert refusal.value.detail.split(":")[0] == path
    assert "BEGIN" not in refusal.value.detail


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", Reason.JSON_MALFORMED),
        (b'{"version":1,"version":1}', Reason.JSON_DUPLICATE_KEY),
        (b"[]", Reason.MANIFEST_TRUST_POLICY),
    ],
)
def test_what_is_no_policy_at_all_is_refused(document: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refusal:
        TrustPolicy.parse(document)

    assert refusal.value.reason is reason


def test_a_policy_without_rules_trusts_nobody() -> None:
    value = policy_json(acme=ACME) | {"rules": []}

    with pytest.raises(Refused) as refusal:
        TrustPolicy.parse(json.dumps(value).encode()).rule_for(SpiffeId.parse(f"{TD}/a"), "t")
    assert refusal.value.reason is Reason.MANIFEST_NO_RULE
