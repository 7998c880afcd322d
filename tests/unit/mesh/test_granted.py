"""What policy and audit call a request."""

from spiffe_mcp.mesh.granted import action_of
from spiffe_mcp.mesh.reading import read_body
from tests.exchange.playbook import answering, call, delete, listening


def test_each_kind_of_request_has_a_name() -> None:
    requests = (call(), answering(1, b"s"), listening(b"s"), delete(b"s"))
    assert [action_of(read_body(request)) for request in requests] == [
        "tools/call", "session/answer", "session/listen", "session/end",
    ]  # fmt: skip
