"""A real SPIRE server of b.test with a bundle endpoint, and nothing else: no agent, no workload.

with running_spire_server(folder, federates_with={"a.test": url_and_id}) as server:
server.cli("bundle", "show", "-format", "spiffe")        # any of its commands
server.url, server.ENDPOINT                              # where its bundle is, and who serves it
"""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spiffe_mcp.dev.federation import EndpointUrl
from spiffe_mcp.identity import SpiffeId

_START_SECONDS: Final = 30.0
_ATTEMPTS: Final = 5
_CONFIG: Final = """
server {{
    trust_domain = "b.test"
    data_dir     = "{folder}/data"
    socket_path  = "{folder}/api.sock"
    log_level    = "INFO"
    bind_address = "127.0.0.1"
    bind_port    = "{api_port}"
    federation {{
        bundle_endpoint {{
            address = "127.0.0.1"
            port    = {bundle_port}
            refresh_hint = "10s"
            profile "https_spiffe" {{}}
        }}
        federates_with "a.test" {{
            bundle_endpoint_url = "{url}"
            bundle_endpoint_profile "https_spiffe" {{
                endpoint_spiffe_id = "{endpoint_id}"
            }}
        }}
    }}
}}
plugins {{
    DataStore "sql" {{
        plugin_data {{
            database_type     = "sqlite3"
            connection_string = "{folder}/datastore.sqlite3"
        }}
    }}
    NodeAttestor "join_token" {{
        plugin_data {{}}
    }}
    KeyManager "memory" {{
        plugin_data {{}}
    }}
}}
"""


@dataclass(frozen=True)
class SpireServer:
    """A server that runs."""

    folder: Path
    bundle_port: int
    ENDPOINT = SpiffeId.parse("spiffe://b.test/spire/server")

    @property
    def url(self) -> EndpointUrl:
        return EndpointUrl.parse(f"https://127.0.0.1:{self.bundle_port}/")

    def cli(self, *words: str | Path) -> str:
        """What a command of the server prints."""
        command = ["spire-server", *map(str, words), "-socketPath", str(self.folder / "api.sock")]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, f"{words}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    def foreign_bundle(self) -> Any:
        """What it knows of a.test."""
        return json.loads(self.cli("bundle", "list", "-id", "spiffe://a.test", "-format", "spiffe"))


@contextmanager
def running_spire_server(folder: Path, url: str, endpoint_id: str) -> Iterator[SpireServer]:
    """The server; `url` and `endpoint_id` say where the bundle of a.test is, and who serves it."""
    # SPIRE does not take port 0, so free ports are guessed; another process may be faster: hence attempts.
    for _ in range(_ATTEMPTS):
        api_port, bundle_port = _free_ports()
        config = folder / "server.conf"
        config.write_text(
            _CONFIG.format(
                folder=folder, api_port=api_port, bundle_port=bundle_port, url=url, endpoint_id=endpoint_id
            )
        )
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                ["spire-server", "run", "-config", config], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            if _is_up(process, folder / "api.sock"):
                yield SpireServer(folder, bundle_port)
                return
        finally:
            process.kill()
            process.wait()
    raise AssertionError((folder / "server.log").read_text())


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def _is_up(process: subprocess.Popen[bytes], api: Path) -> bool:
    """Whether the server became healthy before it ended."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        healthy = subprocess.run(
            ["spire-server", "healthcheck", "-socketPath", api], capture_output=True, check=False, timeout=30
        )
        if healthy.returncode == 0:
            return True
    return False
