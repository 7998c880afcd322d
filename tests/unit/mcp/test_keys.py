"""Keys that some parser would take for a key that matters are refused; others are nobody's business."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp.keys import ExactKeys

KEYS = ExactKeys(frozenset({"task", "uri", "nextCursor", "_meta"}))


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("Task", id="upper case"),
        pytest.param("TASK", id="all upper case"),
        pytest.param("ta\u017fk", id="long s, which Go folds to s"),
        pytest.param("tas\u212a", id="Kelvin sign, which Go folds to k"),
        pytest.param("ur\u0131", id="dotless i, which Java takes for i"),
        pytest.param("nextcursor", id="lower case of a camel-case key"),
        pytest.param("_META", id="underscore"),
    ],
)
def test_another_spelling_is_refused(key: str) -> None:
    with pytest.raises(Refused) as refused:
        KEYS.check({"uri", key})
    assert refused.value.reason is Reason.MCP_KEY_CASE


def test_in_an_answer_it_is_the_servers_fault() -> None:
    KEYS.check_answered({"uri"})
    with pytest.raises(Refused) as refused:
        KEYS.check_answered({"uri", "Task"})
    assert refused.value.reason is Reason.MCP_ANSWER_MALFORMED


@pytest.mark.parametrize(
    "keys", [[], ["task"], ["tasks", "x-task", "URL", "naïve"], ["nextCursor", "_meta", "meta"]]
)
def test_exact_and_unrelated_keys_pass(keys: list[str]) -> None:
    KEYS.check(keys)
