"""The embedded engine: default deny, undefined refuses, and every failure has its reason."""

import gc
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.policy.decision import Visibility
from spiffe_mcp.policy.engine import PolicyEngine
from spiffe_mcp.policy.input import AgentInput, PolicyInput, ToolInput, UserInput
from spiffe_mcp.policy.rego import RegoPolicy
from spiffe_mcp.strict_json import JsonObject, JsonValue

ROOT = Path(__file__).parents[3]
ANALYSTS = """package mcp.authz
import rego.v1

default allow := false

allow if {
    input.action == "tools/call"
    input.agent.spiffe_id in data.agents
    "analysts" in input.user.groups
    input.arguments.rows <= 100
}

decision := {"allow": allow, "rule": "analysts", "reason": reason, "visibility": "offered", "message": "ask"}
reason := sprintf("%v may read %v rows", [input.user.sub, input.arguments.rows]) if allow
reason := "not an analyst, or too many rows" if not allow

visible_tools contains tool.name if {
    some tool in input.tools
    tool.risk_level == "low"
}
"""
DATA: JsonObject = {"agents": ["spiffe://a.test/bot"]}
NOW = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)


def compiled(body: str, data: JsonObject | None = None) -> RegoPolicy:
    """A policy of one module."""
    return RegoPolicy.compile({"a.rego": f"package mcp.authz\nimport rego.v1\n{body}"}, data)


def question(
    rows: JsonValue = 1,
    agent: str = "spiffe://a.test/bot",
    groups: tuple[str, ...] = ("analysts",),
    tools: tuple[ToolInput, ...] | None = None,
    others: Mapping[str, JsonValue] | None = None,
) -> PolicyInput:
    """Whether this AI agent may read that many rows for alice."""
    return PolicyInput(
        action="tools/call",
        server="spiffe://a.test/crm",
        agent=AgentInput(agent, "a.test", "/bot"),
        now=NOW,
        user=UserInput("alice", "https://idp.test", groups),
        tools=tools,
        arguments={"rows": rows, **(others or {})},
    )


@pytest.fixture
def policy() -> PolicyEngine:
    """The compiled sample, as the mesh sees it."""
    return RegoPolicy.compile({"analysts.rego": ANALYSTS}, DATA, "7")


def test_a_policy_permits_with_its_rule_and_its_words(policy: PolicyEngine) -> None:
    """The audit record needs both."""
    decision = policy.decide(question(rows=100))
    assert decision.allow
    assert (decision.rule, decision.reason) == ("analysts", "alice may read 100 rows")


@pytest.mark.parametrize(
    "refused",
    [
        question(rows=101),
        question(rows=100.5),
        question(agent="spiffe://a.test/other"),
        question(groups=()),
    ],
)
def test_a_policy_refuses_what_no_rule_permits(policy: PolicyEngine, refused: PolicyInput) -> None:
    """By argument, by agent, by user; and says what a caller may read."""
    decision = policy.decide(refused)
    assert decision.refusal is Reason.POLICY_DENIED
    assert (decision.visibility, decision.message) == (Visibility.OFFERED, "ask")


def test_no_question_is_answered_with_the_input_of_the_one_before(policy: PolicyEngine) -> None:
    """A question that cannot be put leaves nothing behind, and is not answered from what was there."""
    assert policy.decide(question()).allow
    assert policy.decide(question(rows=2**70)).refusal is Reason.POLICY_INPUT_NUMBER
    assert policy.decide(PolicyInput("tools/call", "s", AgentInput("x", "y", "z"), NOW)).refusal is not None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('decision := {"allow": true} if input.absent', Reason.POLICY_UNDEFINED),
        ('decision := {"allow": input.absent}', Reason.POLICY_UNDEFINED),
        ('decision := {"allow": 1 / 0 == 1}', Reason.POLICY_ERROR),
        ('decision := {"allow": true} if not startswith(input.arguments.rows, "a")', Reason.POLICY_ERROR),
        ('decision := {"allow": true}\ndecision := {"allow": false}', Reason.POLICY_ERROR),
        ('decision := {"allow": true} if not data.no.such.f(1)', Reason.POLICY_ERROR),
        ('decision := {"allow": data.mcp.authz.decision.allow}', Reason.POLICY_ERROR),
        ("decision := f(3)\nf(x) := f(x - 1)", Reason.POLICY_ERROR),
        ("decision := true", Reason.POLICY_DECISION_MALFORMED),
        ("decision contains true", Reason.POLICY_DECISION_MALFORMED),
        ('decision := {"allow": "true"}', Reason.POLICY_DECISION_MALFORMED),
        ('decision := {"allow": true, "obligations": {"redact": []}}', Reason.POLICY_OBLIGATION_UNKNOWN),
        ('decision := {"allow": true, 1: 2}', Reason.POLICY_DECISION_MALFORMED),
        ('decision := {"allow": false}', Reason.POLICY_DENIED),
    ],
)
def test_every_way_of_not_saying_yes_refuses_with_its_own_reason(body: str, reason: Reason) -> None:
    """Fail closed: undefined, conflict, failure, another shape."""
    decision = compiled(body).decide(question())
    assert not decision.allow
    assert decision.refusal is reason


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"to": 'x", "allow": true, "y": "'}, Reason.POLICY_INPUT_TEXT),
        ({"to": "a\nb"}, Reason.POLICY_INPUT_TEXT),
        ({"to": 2**64 + 5}, Reason.POLICY_INPUT_NUMBER),
        ({"to": ["x"] * 20_000}, Reason.POLICY_INPUT_SIZE),
    ],
)
def test_arguments_that_the_engine_would_misread_are_refused_where_a_rule_reads_them(
    others: Mapping[str, JsonValue], reason: Reason
) -> None:
    """And only there: another policy, on the same call, is not concerned."""
    reader = compiled('decision := {"allow": true} if input.arguments.to')
    decision = reader.decide(question(others=others))
    assert decision.refusal is reason
    assert decision.detail.startswith("input.arguments.to: ")
    other = compiled('decision := {"allow": input.arguments.rows == 1}')
    assert other.decide(question(others=others)).allow


@pytest.mark.parametrize("rows", ["1", "999", None, [], {"a": 1}, False])
def test_a_limit_holds_whatever_type_the_caller_sends(policy: PolicyEngine, rows: JsonValue) -> None:
    """The engine would find that "999" <= 100."""
    assert policy.decide(question(rows=rows)).refusal is Reason.POLICY_INPUT_TYPE


def test_only_what_the_policy_reads_reaches_the_engine(policy: RegoPolicy) -> None:
    """An operator can see what a policy looks at."""
    assert policy.reads == (
        "action",
        "agent.spiffe_id",
        "arguments.rows",
        "tools",
        "user.groups",
        "user.sub",
    )


def test_small_floats_keep_their_value() -> None:
    """The engine's typed input would make 0.0000001 zero."""
    positive = compiled('decision := {"allow": input.arguments.rows > 0}')
    assert positive.decide(question(rows=1e-7)).allow
    assert not positive.decide(question(rows=-1e-7)).allow


def tool(name: str, risk: str) -> ToolInput:
    """A tool of a manifest."""
    return ToolInput(name, "sha256:00", risk, requires_approval=False, serial=1)


def test_a_whole_list_of_tools_is_asked_about_once(policy: PolicyEngine) -> None:
    """The names the policy shows, out of those that were asked about."""
    tools = (tool("add", "low"), tool("drop", "high"), tool("list", "low"))
    assert policy.visible_tools(question(tools=tools)) == {"add", "list"}


def test_a_tool_that_was_not_asked_about_is_not_visible() -> None:
    """A policy cannot invent tools."""
    inventive = compiled('decision := {"allow": false}\nvisible_tools := ["add", "ghost"]')
    assert inventive.visible_tools(question(tools=(tool("add", "low"),))) == {"add"}


@pytest.mark.parametrize("body", ["", "visible_tools contains t if { some t in input.absent }"])
def test_a_policy_that_says_nothing_of_tools_shows_none(body: str) -> None:
    """Fail closed."""
    silent = compiled('decision := {"allow": true}\n' + body)
    assert silent.visible_tools(question(tools=(tool("add", "low"),))) == frozenset()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("visible_tools := true", Reason.POLICY_DECISION_MALFORMED),
        ("visible_tools := [1]", Reason.POLICY_DECISION_MALFORMED),
        ('visible_tools := {"add": true}', Reason.POLICY_DECISION_MALFORMED),
        ('visible_tools := ["a"]\nvisible_tools := ["b"]', Reason.POLICY_ERROR),
        ("visible_tools := input.arguments.rows", Reason.POLICY_INPUT_NUMBER),
    ],
)
def test_a_broken_list_of_tools_is_a_refusal_and_not_an_empty_list(body: str, reason: Reason) -> None:
    """The operator has to hear of it."""
    with pytest.raises(Refused) as caught:
        compiled(f'decision := {{"allow": true}}\n{body}').visible_tools(question(rows=2**60, tools=()))
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("modules", "data", "detail"),
    [
        ({}, {}, "no rule `decision`"),
        ({"a.rego": "package mcp.authz\nallow := true"}, {}, "no rule `decision`"),
        ({"a.rego": 'package other\ndecision := {"allow": true}'}, {}, "no rule `decision`"),
        ({"a.rego": "package mcp.authz\n# decision := 1\nx := 1"}, {}, "no rule `decision`"),
        ({"a.rego": 'package mcp.authz\ndecision := {"allow": 1'}, {}, "a.rego:2: "),
        ({"é.rego": "package mcp.authz # é\n\ndecision := {} if {{{"}, {}, "é.rego:3: "),
        ({"a.rego": "package mcp.authz\ndecision := 1", "b.rego": "nothing"}, {}, "b.rego"),
        ({"a.rego": "package mcp.authz\ndecision := 1"}, {"mcp": {"authz": {}}}, "data must not define"),
        ({"a.rego": "package mcp.authz\ndecision := 1"}, {"x": "a\nb"}, "data: "),
        ({"a.rego": "package mcp.authz\ndecision := 1"}, {"x": 2**60}, "data: "),
    ],
)
def test_a_policy_that_cannot_decide_is_not_compiled(
    modules: dict[str, str], data: JsonObject, detail: str
) -> None:
    """Found out when it is loaded, with file and line, and not by the first call."""
    with pytest.raises(Refused) as caught:
        RegoPolicy.compile(modules, data)
    assert caught.value.reason is Reason.POLICY_INVALID
    assert detail in caught.value.detail


def test_the_engine_does_not_print(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither compile errors nor conflicts reach the standard streams."""
    with pytest.raises(Refused):
        compiled("decision := {{{")
    compiled("decision := 1\ndecision := 2").decide(question())
    assert capfd.readouterr() == ("", "")


def test_the_digest_names_sources_and_data() -> None:
    """Any change is another digest; the version is the operator's word, or the digest."""
    source = {"a.rego": 'package mcp.authz\ndecision := {"allow": false}'}
    first = RegoPolicy.compile(source, {"x": 1})
    assert first.digest.startswith("sha256:")
    assert first.version == first.digest
    others = [
        RegoPolicy.compile(source, {"x": 2}),
        RegoPolicy.compile({"a.rego": source["a.rego"] + "\n"}, {"x": 1}),
    ]
    assert len({first.digest, *(other.digest for other in others)}) == 3
    elsewhere = RegoPolicy.compile({"b.rego": source["a.rego"]}, {"x": 1})
    assert elsewhere.digest == first.digest, "what a file is called decides nothing"
    again = RegoPolicy.compile(source, {"x": 1}, "7")
    assert (again.digest, again.version) == (first.digest, "7")


def test_helper_packages_may_be_used() -> None:
    """The decision stands in mcp.authz, the rest where it likes."""
    policy = RegoPolicy.compile(
        {
            "a.rego": 'package mcp.authz\nimport data.lib\ndecision := {"allow": lib.few}',
            "lib.rego": "package lib\ndefault few := false\nfew if input.arguments.rows < 10",
        }
    )
    assert policy.decide(question(rows=9)).allow
    assert not policy.decide(question(rows=10)).allow


def growth() -> int:
    """By how many bytes this process grows over 20 000 decisions."""
    policy = RegoPolicy.compile({"a.rego": ANALYSTS}, DATA)

    def decide(times: int) -> int:
        for _ in range(times):
            policy.decide(question())
            policy.decide(question(rows=0.5))
        gc.collect()  # the bindings leave cycles; when they are collected is not the question
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = decide(1_000)
    return decide(10_000) - before


def test_many_decisions_do_not_grow_the_process() -> None:
    """The engine frees what it made. A process of its own: what other tests left here moves as it likes."""
    # With all that an agent loads: what grpc brings has been in the way of freeing.
    program = f"import spiffe_mcp.cli.agent; from {__name__} import growth; print(growth())"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    assert int(ran.stdout) < 2 * 1024 * 1024
