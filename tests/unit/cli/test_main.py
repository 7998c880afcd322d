"""The command as a shell sees it: names, help, and exit codes that a script can rely on."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from spiffe_mcp import __version__
from spiffe_mcp.cli import main as main_module
from spiffe_mcp.cli.main import COMMANDS, app, main
from spiffe_mcp.errors import Reason, Refused


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_it_says_its_version() -> None:
    assert run("--version") == (0, f"spiffe-mcp {__version__}\n")


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_without_a_command_it_names_them_all(arguments: tuple[str, ...]) -> None:
    _, output = run(*arguments)
    for command in COMMANDS:
        assert f" {command} " in output


def commands(command: object, *path: str) -> list[tuple[str, ...]]:
    """Every command there is, with its sub-commands."""
    below = getattr(command, "commands", {})
    return [path, *(found for name, sub in below.items() for found in commands(sub, *path, name))]


EVERY = [
    path
    for name in COMMANDS
    for path in commands(typer.main.get_command(app).get_command(None, name), name)  # type: ignore[attr-defined]  # a group
]


def test_all_commands_are_found() -> None:
    names = {" ".join(path) for path in EVERY}
    assert {"agent", "dev", "manifest sign", "manifest verify", "policy eval", "audit verify"} <= names


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_command_explains_itself_and_each_of_its_options(path: tuple[str, ...]) -> None:
    code, output = run(*path, "--help")
    assert code == 0
    assert f"Usage: root {' '.join(path)}" in output
    assert len(output.splitlines()) > 5


@pytest.mark.parametrize(
    "arguments", [("nope",), ("agent",), ("agent", "--config", "/nope"), ("dev", "--json")]
)
def test_wrong_usage_is_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == 2


def test_a_level_of_logging_that_there_is_not_is_wrong_usage(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.touch()
    assert run("agent", "--config", str(config), "--log-level", "chatty")[0] == 2


# -- refusals -----------------------------------------------------------------------------------------------


def ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: Callable[[], None]
) -> tuple[object, str]:
    """Exit code and standard error of `main` when this is what the command does."""
    monkeypatch.setattr(main_module, "app", command)
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    assert out == ""
    return caught.value.code, err


def test_a_refusal_is_1_and_its_code_stands_first_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise Refused(Reason.CONFIG_INVALID, "agent.yaml:3: no")

    assert ended(monkeypatch, capsys, refuse) == (1, "config.invalid: agent.yaml:3: no\n")


def test_refusals_out_of_task_groups_within_task_groups_are_said_one_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refuse(reason: Reason) -> None:
        raise Refused(reason)

    async def group(*reasons: Reason) -> None:
        async with asyncio.TaskGroup() as tasks:
            for reason in reasons:
                tasks.create_task(refuse(reason))

    async def groups() -> None:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(group(Reason.LISTEN_FAILED))
            outer.create_task(group(Reason.CONFIG_INVALID, Reason.TLS_BUSY))

    code, said = ended(monkeypatch, capsys, lambda: asyncio.run(groups()))
    assert code == 1
    assert sorted(said.splitlines()) == ["config.invalid", "listen.failed", "tls.busy"]


def test_a_fault_is_no_refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It keeps its traceback: whoever reports it needs that."""

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main_module, "app", fail)
    with pytest.raises(ZeroDivisionError):
        main()
    assert capsys.readouterr().err == ""


def test_an_agent_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    """The whole way, through a process: two task groups and an event loop lie between."""
    config = tmp_path / "agent.yaml"
    config.write_text(
        "identity: {socket: 'unix:///nope', spiffe_id: 'spiffe://a.test/x'}\n"
        "ingress:\n  listen: 127.0.0.1:0\n  trust_policy: absent.json\n"
        "  servers: [{name: a, upstream: 'http://127.0.0.1:1/mcp', manifest: m}]\n"
        "audit: {file: audit.jsonl}\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "spiffe_mcp", "agent", "--config", config],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    refusal = f"config.invalid: {tmp_path / 'absent.json'}: No such file or directory\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", refusal)
