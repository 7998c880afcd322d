"""Whole answers, looked at: what wrk counts as good because its status is 200 has to be the answer as well.

While wrk runs, one more client makes calls of its own and reads what comes back; and the MCP server has to
have answered at least as many calls as wrk counted.
"""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

from scripts.benchmarks import calls
from scripts.benchmarks.calls import Form
from scripts.benchmarks.load import WrongAnswersError
from scripts.benchmarks.programs import Address

_FIRST: Final = 9_000_000_000  # numbers that no run of wrk reaches
_PAUSE: Final = 0.1  # seconds between two samples: they must not be the load
_TIMEOUT: Final = 30.0  # seconds
_numbers = count(_FIRST)


def check(form: Form, url: str, times: int = 1) -> None:
    """Make some calls and hold the answers against what was asked; raises `WrongAnswersError`."""
    place = urlsplit(url)
    with closing(http.client.HTTPConnection(place.netloc, timeout=_TIMEOUT)) as client:
        for _ in range(times):
            number = next(_numbers)
            try:
                client.request("POST", place.path, form.filled(number), dict(form.headers))
                answer = client.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise WrongAnswersError(f"no answer: {error!r}") from error
            if answer.status != http.HTTPStatus.OK:
                raise WrongAnswersError(f"status {answer.status}: {body[:300]!r}")
            check_body(body, answer.headers.get_content_type(), number)


def check_body(body: bytes, content_type: str, number: int) -> None:
    """Return if this is the answer to call `number`, in either form; raises `WrongAnswersError`."""
    document = body if content_type == "application/json" else _last_event(body)
    try:
        message: Any = json.loads(document)
        said = (message["id"], message["result"]["content"][0]["text"])
    except (ValueError, LookupError, TypeError):
        raise WrongAnswersError(f"not the answer to a call: {body[:300]!r}") from None
    if said != (number, calls.text_of(number)):
        raise WrongAnswersError(f"the answer to another call than {number}: {body[:300]!r}")


@contextmanager
def sampled(form: Form, url: str) -> Iterator[None]:
    """Answers are looked at while the block runs, and whatever was wrong is raised at its end."""
    over, wrong = threading.Event(), list[Exception]()

    def sample() -> None:
        try:
            while not over.wait(_PAUSE):
                check(form, url)
        except WrongAnswersError as error:
            wrong.append(error)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if wrong:
        raise WrongAnswersError(str(wrong[0])) from wrong[0]


def answered(server: Address) -> int:
    """How many calls the MCP server has answered."""
    with closing(http.client.HTTPConnection(str(server), timeout=_TIMEOUT)) as client:
        client.request("GET", "/calls")
        return int(client.getresponse().read())


def _last_event(body: bytes) -> bytes:
    events = [line.removeprefix(b"data:") for line in body.splitlines() if line.startswith(b"data:")]
    return events[-1] if events else b""
