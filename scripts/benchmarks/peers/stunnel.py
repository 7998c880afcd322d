"""stunnel, two hops with mutual TLS 1.3: octets are relayed unread, a connection for each of the client's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scripts.benchmarks.credentials import EGRESS_NAME, INGRESS_NAME
from scripts.benchmarks.peers.target import Running, Site
from scripts.benchmarks.programs import Address, free_port, program, started


class Stunnel:
    """Two instances, with a thread for each connection, however many workers were asked for."""

    name: Final = "stunnel"
    title: Final = "stunnel, two hops"

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
def _instance(site: Site, side: str, service: str, address: Address) -> Iterator[int]:
    configuration, log = site.folder / f"{side}.conf", site.folder / f"{side}.log"
    configuration.write_text(_HEAD + service)
    command: list[str | Path] = [program("stunnel", "stunnel4"), configuration]
    with started(command, log) as process:
        process.until_listening(address)
        yield process.pid


_HEAD: Final = """\
foreground = yes
pid =
debug = err
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
sslVersionMin = TLSv1.3
sessionResume = no
verifyChain = yes
"""


def _egress(site: Site, listen: Address, ingress: Address) -> str:
    credentials = site.credentials
    return f"""\
[egress]
client = yes
accept = {listen}
connect = {ingress}
cert = {credentials.both(EGRESS_NAME)}
CAfile = {credentials.root}
checkHost = {INGRESS_NAME}
"""


def _ingress(site: Site, listen: Address) -> str:
    credentials = site.credentials
    return f"""\
[ingress]
accept = {listen}
connect = {site.server.address}
cert = {credentials.both(INGRESS_NAME)}
CAfile = {credentials.root}
"""
