"""A page in a browser does not reach the egress under a name of its own."""

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mesh.origin import check_origin

LOCAL = (b"host", b"127.0.0.1:7070")


@pytest.mark.parametrize(
    "host", [b"localhost", b"localhost:1", b"LOCALHOST:7070", b"127.0.0.1", b"[::1]", b"[::1]:7070"]
)
def test_this_machine_may_be_called_by_its_names(host: bytes) -> None:
    check_origin(((b"host", host),))


@pytest.mark.parametrize("origin", [b"http://localhost:3000", b"https://127.0.0.1", b"http://[::1]:8080"])
def test_a_page_of_this_machine_may_call(origin: bytes) -> None:
    check_origin((LOCAL, (b"origin", origin)))


@pytest.mark.parametrize(
    "host",
    [
        b"", b"evil.test", b"localhost.evil.test", b"127.0.0.1.nip.io", b"127.0.0.2", b"0.0.0.0",
        b"localhost.", b"evil.test:7070", b"[::ffff:127.0.0.1]", b"[::1", b"2130706433", b"127.1",
        b"local\xe4host", b"localhost@evil.test", b"localhost\\@evil.test", b"localhost,evil.test",
    ],
)  # fmt: skip
def test_rebound_names_are_refused(host: bytes) -> None:
    """What DNS rebinding cannot forge is the name that the browser was told."""
    with pytest.raises(Refused) as caught:
        check_origin(((b"host", host),))
    assert caught.value.reason is Reason.ORIGIN_FORBIDDEN


@pytest.mark.parametrize(
    "origin",
    [
        b"null", b"", b"file://", b"https://evil.test", b"http://localhost.evil.test", b"http://localhost@evil.test",
        b"http://localhost, http://evil.test", b"localhost", b"http://[::1", b"http://evil.test/localhost",
        b"http://evil.test?http://localhost",
    ],
)  # fmt: skip
def test_foreign_pages_are_refused(origin: bytes) -> None:
    with pytest.raises(Refused) as caught:
        check_origin((LOCAL, (b"origin", origin)))
    assert (caught.value.reason, caught.value.detail) == (Reason.ORIGIN_FORBIDDEN, "")


def test_one_local_origin_does_not_excuse_a_foreign_one() -> None:
    with pytest.raises(Refused):
        check_origin((LOCAL, (b"origin", b"http://localhost"), (b"origin", b"http://evil.test")))
