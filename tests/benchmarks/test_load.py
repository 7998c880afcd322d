"""What wrk's script writes is read, and answers that are none are no measurement."""

import json

import pytest

from scripts.benchmarks.load import Load, WrongAnswersError, parse


def said(**other: int) -> str:
    numbers = {"calls": 3000, "microseconds": 2_000_000, "p50": 400, "p99": 2500, "status": 0, "broken": 0}
    return "Running 2s test @ http://127.0.0.1:1/mcp\n" + json.dumps({**numbers, **other}) + "\n"


def test_microseconds_become_seconds_and_milliseconds() -> None:
    assert parse(said(), cpu=0.5) == Load(calls=3000, seconds=2.0, p50=0.4, p99=2.5, cpu=0.5)
    assert parse(said()).rate == 1500


@pytest.mark.parametrize("wrong", [{"status": 1}, {"broken": 1}, {"calls": 0}])
def test_an_answer_that_is_none_fails_the_measurement(wrong: dict[str, int]) -> None:
    with pytest.raises(WrongAnswersError):
        parse(said(**wrong))
