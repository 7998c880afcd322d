"""Streams are compared within a round; their native client takes nothing for whole that has no result."""

import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.benchmarks import streams
from scripts.benchmarks.load import WrongAnswersError
from scripts.benchmarks.peers.target import Running
from scripts.benchmarks.server import serving
from scripts.benchmarks.streams import Streamed

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="the native client is built by Go")


def streamed(target: str, round_: int, seconds: float) -> Streamed:
    return Streamed(target, round_, 100_000_000, seconds, {"egress": 0.5})


def test_rates_are_compared_within_a_round() -> None:
    found = [streamed("nginx", 0, 1), streamed("mesh", 0, 2), streamed("nginx", 1, 2), streamed("mesh", 1, 4)]
    assert streams.ratio(found, "mesh", "nginx") == 0.5
    assert streams.ratio(found[:1], "mesh", "nginx") is None


def test_the_summary_has_medians() -> None:
    [summary] = streams.summary(
        [streamed("mesh", round_, seconds) for round_, seconds in enumerate([1, 4, 2])]
    )
    assert (summary["megabytes_per_second"], summary["cpu_seconds"]) == (50.0, {"egress": 0.5})


@needs_go
def test_a_whole_answer_is_measured(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        one = streams.once("direct", Running(server.url, {}), 0, events=50)
    assert one.size > 40 * streams.EVENT_BYTES


class _CutShort(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'data: {"jsonrpc":"2.0","method":"notifications/message"}\n\n')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as in the library
        pass


@pytest.fixture
def cut_short() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _CutShort) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/mcp"
        server.shutdown()
        thread.join()


@needs_go
def test_an_answer_without_its_end_fails_the_run(cut_short: str) -> None:
    with pytest.raises(WrongAnswersError, match="without its result"):
        streams.once("broken", Running(cut_short, {}), 0)
