"""An answer with the status 200 that is not the answer is found out."""

import json

import pytest

from scripts.benchmarks import calls, sampling
from scripts.benchmarks.load import WrongAnswersError

NUMBER = 9_000_000_123


def answer(number: int = NUMBER, text: str = calls.text_of(NUMBER)) -> bytes:
    result = {"content": [{"type": "text", "text": text}]}
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()


def test_the_answer_passes_in_both_forms() -> None:
    sampling.check_body(answer(), "application/json", NUMBER)
    event = b"event: message\r\ndata: " + answer() + b"\r\n\r\n"
    sampling.check_body(event, "text/event-stream", NUMBER)


WRONG = {
    "of another call": answer(number=NUMBER + 1),
    "with other words": answer(text="something else"),
    "an error of JSON-RPC": b'{"jsonrpc":"2.0","id":9000000123,"error":{"code":-1,"message":"no"}}',
    "no JSON": b"<html>",
    "nothing": b"",
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
def test_another_answer_does_not(body: bytes) -> None:
    with pytest.raises(WrongAnswersError):
        sampling.check_body(body, "application/json", NUMBER)
    with pytest.raises(WrongAnswersError):
        sampling.check_body(b"data: " + body + b"\n\n", "text/event-stream", NUMBER)
