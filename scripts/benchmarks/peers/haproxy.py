"""haproxy, two hops with mutual TLS 1.3: as the reference, another program."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scripts.benchmarks.credentials import EGRESS_NAME, INGRESS_NAME
from scripts.benchmarks.peers.target import Running, Site
from scripts.benchmarks.programs import Address, free_port, program, started


class Haproxy:
    """Two instances, as there are two agents; connections are kept on all three legs."""

    name: Final = "haproxy"
    title: Final = "haproxy, two hops"

    @contextmanager
    def running(self, site: Site) -> Iterator[Running]:
        """Both instances."""
        egress, ingress = free_port(), free_port()
        with (
            _instance(site, "ingress", _ingress(site, ingress), ingress) as second,
            _instance(site, "egress", _egress(site, egress, ingress), egress) as first,
        ):
            processes = {"egress": first, "ingress": second}
            yield Running(f"http://{egress}/mcp", processes, ingress=ingress)


@contextmanager
def _instance(site: Site, side: str, sections: str, address: Address) -> Iterator[int]:
    configuration, log = site.folder / f"{side}.cfg", site.folder / f"{side}.log"
    configuration.write_text(_HEAD.format(threads=site.workers) + sections)
    command: list[str | Path] = [program("haproxy", "/usr/sbin/haproxy"), "-q", "-db", "-f", configuration]
    with started(command, log) as process:
        process.until_listening(address)
        yield process.pid


# Idle connections count against the limit of descriptors, which it would else raise beyond what is allowed.
_HEAD: Final = """\
global
    nbthread {threads}
    maxconn 2048
    tune.ssl.cachesize 0
defaults
    mode http
    timeout connect 10s
    timeout client 300s
    timeout server 300s
    http-reuse always
"""


def _egress(site: Site, listen: Address, ingress: Address) -> str:
    credentials = site.credentials
    shown = f"crt {credentials.both(EGRESS_NAME)} ca-file {credentials.root}"
    expected = f"verify required verifyhost {INGRESS_NAME} no-ssl-reuse"
    return f"""\
listen egress
    bind {listen}
    server hop {ingress} ssl ssl-min-ver TLSv1.3 {shown} {expected}
"""


def _ingress(site: Site, listen: Address) -> str:
    credentials = site.credentials
    shown = f"crt {credentials.both(INGRESS_NAME)} ca-file {credentials.root}"
    return f"""\
listen ingress
    bind {listen} ssl ssl-min-ver TLSv1.3 no-tls-tickets {shown} verify required
    server server {site.server.address}
"""
