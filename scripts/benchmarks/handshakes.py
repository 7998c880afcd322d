"""New mutual-TLS connections a second at each target's ingress: full ones, with an answered request each."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.benchmarks import usage
from scripts.benchmarks.load import WrongAnswersError
from scripts.benchmarks.peers.target import Running
from scripts.benchmarks.server import native

PARALLEL: Final = 4
_GRACE: Final = 30.0  # seconds beyond the period


@dataclass(frozen=True, slots=True)
class Handshakes:
    """Handshakes of one target."""

    target: str
    made: int
    seconds: float
    cpu: float  # seconds, of the ingress

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "target": self.target,
            "handshakes_per_second": round(self.made / self.seconds, 1),
            "cpu_us_per_handshake": round(self.cpu / self.made * 1e6, 1),
        }


def once(name: str, running: Running, client: Path, seconds: int) -> Handshakes | None:
    """Make them, by the certificate in `client` unless the target admits another; None if it has no ingress.

    Raises `WrongAnswersError` if one of them fails.
    """
    if running.ingress is None:
        return None
    pid = running.processes["ingress"]
    before = usage.cpu_seconds(pid)
    certificate = running.client or client
    options = [f"-connect={running.ingress}", f"-certificate={certificate}"]
    options += [f"-parallel={PARALLEL}", f"-for={seconds}s"]
    ran = subprocess.run(
        [str(native()), "handshakes", *options],
        capture_output=True,
        timeout=seconds + _GRACE,
        check=False,
    )
    if ran.returncode:
        raise WrongAnswersError(f"{name}: {ran.stderr.decode(errors='replace').strip()}")
    said = json.loads(ran.stdout)
    return Handshakes(name, said["handshakes"], said["seconds"], usage.cpu_seconds(pid) - before)
