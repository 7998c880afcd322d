"""nginx, two hops with mutual TLS 1.3: relays requests and answers, and decides nothing.

Two instances, as there are two agents. Connections are kept on all three legs. Answers are buffered in
memory as nginx does by default, which is its faster way.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scripts.benchmarks.credentials import EGRESS_NAME, INGRESS_NAME
from scripts.benchmarks.peers.target import Running, Site
from scripts.benchmarks.programs import Address, free_port, program, started


class Nginx:
    """The reference."""

    name: Final = "nginx"
    title: Final = "nginx, two hops"

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
def _instance(site: Site, side: str, server: str, address: Address) -> Iterator[int]:
    folder = site.folder / side
    folder.mkdir()
    configuration, log = folder / "nginx.conf", folder / "log"
    configuration.write_text(_main(folder, site.workers, server))
    command: list[str | Path] = [program("nginx", "/usr/sbin/nginx"), "-p", folder, "-c", configuration]
    with started([*command, "-e", "stderr"], log) as process:
        process.until_listening(address)
        yield process.pid


def _main(folder: Path, workers: int, server: str) -> str:
    user = "user root;" if os.geteuid() == 0 else ""  # whose temporary files these are
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"    {kind}_temp_path {folder}/{kind};" for kind in kinds)
    return f"""\
{user}
daemon off;
worker_processes {workers};
pid {folder}/pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_max_body_size 4m;
    client_body_buffer_size 64k;
{temporary}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_max_temp_file_size 0;
    proxy_read_timeout 300s;
{server}
}}
"""


def _kept(name: str, address: Address) -> str:
    kept = "keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 1h;"
    return f"    upstream {name} {{ server {address}; {kept} }}"


def _egress(site: Site, listen: Address, ingress: Address) -> str:
    credentials = site.credentials
    return f"""\
{_kept("hop", ingress)}
    server {{
        listen {listen};
        location / {{
            proxy_pass https://hop;
            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_certificate {credentials.certificate(EGRESS_NAME)};
            proxy_ssl_certificate_key {credentials.key(EGRESS_NAME)};
            proxy_ssl_trusted_certificate {credentials.root};
            proxy_ssl_verify on;
            proxy_ssl_name {INGRESS_NAME};
            proxy_ssl_session_reuse off;
        }}
    }}"""


def _ingress(site: Site, listen: Address) -> str:
    credentials = site.credentials
    return f"""\
{_kept("server", site.server.address)}
    server {{
        listen {listen} ssl;
        ssl_protocols TLSv1.3;
        ssl_certificate {credentials.certificate(INGRESS_NAME)};
        ssl_certificate_key {credentials.key(INGRESS_NAME)};
        ssl_client_certificate {credentials.root};
        ssl_verify_client on;
        ssl_session_tickets off;
        ssl_session_cache off;
        location / {{ proxy_pass http://server; }}
    }}"""
