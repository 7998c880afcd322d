"""The MCP server itself: what everything else is compared with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from scripts.benchmarks.peers.target import Running, Site


class Direct:
    """No proxy at all."""

    name: Final = "direct"
    title: Final = "MCP server alone"

    @contextmanager
    def running(self, site: Site) -> Iterator[Running]:
        """It runs already."""
        yield Running(site.server.url, {})
