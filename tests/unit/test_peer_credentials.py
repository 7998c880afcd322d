"""The kernel says who is at the other end."""

import os
import socket

from spiffe_mcp.peer_credentials import PeerCredentials


def test_the_other_end_of_a_pair_is_this_process() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert PeerCredentials.of(one) == (os.getpid(), os.geteuid(), os.getegid())
