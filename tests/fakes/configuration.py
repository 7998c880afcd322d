"""Configuration files as texts: what an agent reads in one, and what it complains of."""

from pathlib import Path

import pytest

from spiffe_mcp.agent.config import AgentConfig, load
from spiffe_mcp.errors import Reason, Refused


def read(folder: Path, text: str) -> AgentConfig:
    """The configuration that `text` is."""
    file = folder / "agent.yaml"
    file.write_text(text)
    return load(file)


def complaint(folder: Path, text: str) -> str:
    """Why `text` is none."""
    with pytest.raises(Refused) as caught:
        read(folder, text)
    assert caught.value.reason is Reason.CONFIG_INVALID
    return caught.value.detail
