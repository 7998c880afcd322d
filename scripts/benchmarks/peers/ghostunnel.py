"""ghostunnel, two hops with mutual TLS: octets are relayed unread; either end pins the other's SPIFFE ID."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scripts.benchmarks.credentials import EGRESS_NAME, INGRESS_NAME
from scripts.benchmarks.peers.target import Running, Site
from scripts.benchmarks.programs import Address, free_port, program, started


class Ghostunnel:
    """Two instances."""

    name: Final = "ghostunnel"
    title: Final = "ghostunnel, two hops"

    @contextmanager
    def running(self, site: Site) -> Iterator[Running]:
        """Both instances."""
        egress, ingress = free_port(), free_port()
        server, credentials = site.server.address, site.credentials
        allowed = ["--allow-uri", credentials.spiffe_id(EGRESS_NAME)]
        # The host name is verified besides, and would be the address.
        verified = ["--verify-uri", credentials.spiffe_id(INGRESS_NAME)]
        verified += ["--override-server-name", INGRESS_NAME]
        with (
            _instance(site, "server", INGRESS_NAME, [ingress, server], allowed) as second,
            _instance(site, "client", EGRESS_NAME, [egress, ingress], verified) as first,
        ):
            processes = {"egress": first, "ingress": second}
            yield Running(f"http://{egress}/mcp", processes, ingress=ingress)


@contextmanager
def _instance(site: Site, mode: str, own: str, legs: list[Address], peer: list[str]) -> Iterator[int]:
    """One of both; `legs` are where it listens and where it leads."""
    listen, target = legs
    shown: list[str | Path] = ["--keystore", site.credentials.both(own), "--cacert", site.credentials.root]
    command: list[str | Path] = [program("ghostunnel"), mode, "--listen", str(listen)]
    command += ["--target", str(target), *shown, *peer, "--quiet=all", "--shutdown-timeout=1s"]
    environment = {**os.environ, "GOMAXPROCS": str(site.workers)}
    with started(command, site.folder / f"{mode}.log", env=environment) as process:
        process.until_listening(listen)
        yield process.pid
