"""The documentation says what is: its links lead somewhere, its commands exist, its configuration is read."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from spiffe_mcp.agent.config import load
from spiffe_mcp.cli.main import COMMANDS, app
from spiffe_mcp.errors import Reason, Refused
from tests.fakes.chains import HOSTILE

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("spire-config/*.md")])
CONFIGURATION = (ROOT / "docs/reference/configuration.md").read_text()

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """The page without its code."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The names of its headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(page))
    }


# -- links --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file_and_to_a_heading(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("folder", ["docs/guides", "docs/adr"])
def test_every_page_of_a_folder_can_be_reached_by_a_link(folder: str) -> None:
    reached = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in LINK.findall(prose(page))
    }
    assert {page.resolve() for page in (ROOT / folder).glob("*.md")} <= reached


# -- commands -----------------------------------------------------------------------------------------------


def command_lines() -> Iterator[str]:
    for _, block in FENCE.findall((ROOT / "docs/reference/cli.md").read_text()):
        yield from (line for line in block.splitlines() if line.startswith("spiffe-mcp "))


def commands_in(line: str) -> list[str]:
    """`manifest verify` out of `spiffe-mcp manifest verify FILE --json`."""
    words = line.split()[1:]
    end = next((place for place, word in enumerate(words) if not word.islower() or "-" in word), len(words))
    return words[:end]


def help_of(commands: list[str]) -> str:
    result = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [*commands, "--help"])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("line", list(command_lines()))
def test_every_command_line_of_the_reference_exists_with_its_options(line: str) -> None:
    known = set(re.findall(r"--[a-z-]+", help_of(commands_in(line))))
    assert set(re.findall(r"--[a-z-]+", line)) <= known


def test_every_command_with_all_its_options_is_in_the_reference() -> None:
    documented = {" ".join(commands_in(line)) for line in command_lines()}
    assert {line.split()[0] for line in documented if line} == set(COMMANDS)
    for commands in documented - {""}:
        lines = [line for line in command_lines() if " ".join(commands_in(line)) == commands]
        known = set(re.findall(r"--[a-z-]+", help_of(commands.split()))) - {"--help"}
        assert known == set(re.findall(r"--[a-z-]+", " ".join(lines))), commands


# -- configuration ------------------------------------------------------------------------------------------

# Where in a complete file the section of each heading is.
SECTIONS: Mapping[str, tuple[str | int, ...]] = {
    "Top level": (),
    "identity": ("identity",),
    "identity.broker": ("identity", "broker"),
    "identity.delegated": ("identity", "delegated"),
    "egress": ("egress",),
    "egress.user": ("egress", "user"),
    "egress.servers": ("egress", "servers", 0),
    "ingress": ("ingress",),
    "ingress.servers": ("ingress", "servers", 0),
    "ingress.servers.upstream": ("ingress", "servers", 0, "upstream"),
    "ingress.workload": ("ingress", 0, "workload"),
    "ingress.workload.pod": ("ingress", 0, "workload", "pod"),
    "audit": ("audit",),
    "connections": ("connections",),
    "admin": ("admin",),
}


def examples() -> list[str]:
    """The complete files that the reference and the guides show."""
    pages = [CONFIGURATION, *(page.read_text() for page in sorted((ROOT / "docs/guides").glob("*.md")))]
    return [block for page in pages for language, block in FENCE.findall(page) if language == "yaml"]


def example_with(where: tuple[str | int, ...]) -> tuple[Any, Any]:
    """The first of them that has that section, and the section in it."""
    for example in examples():
        whole = section = yaml.safe_load(example)
        with suppress(KeyError, TypeError):  # of another kind than this one
            for step in where:
                section = section[step]
            if isinstance(section, dict):
                return whole, section
    raise AssertionError(f"no example has {where}")


def documented_keys(heading: str) -> set[str]:
    section = re.split(r"^## ", CONFIGURATION, flags=re.MULTILINE)
    [text] = [part for part in section if part.partition("\n")[0] == heading]
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


def parsed_keys(where: tuple[str | int, ...], folder: Path) -> set[str]:
    """The keys that the parser says it knows, when it is given one that it does not."""
    whole, section = example_with(where)
    section["no_such_key"] = "x"
    file = folder / "agent.yaml"
    file.write_text(yaml.safe_dump(whole, sort_keys=False))
    with pytest.raises(Refused) as refused:
        load(file)
    assert refused.value.reason is Reason.CONFIG_INVALID
    complaint, _, known = refused.value.detail.partition("unknown key; expected one of: ")
    assert "no_such_key" in complaint
    return set(known.split(", "))


def test_the_documented_configuration_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(examples()[0])
    config = load(file)
    assert config.egress is not None
    assert config.ingresses


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_parser_knows_exactly_the_keys_that_are_documented(heading: str, tmp_path: Path) -> None:
    assert parsed_keys(SECTIONS[heading], tmp_path) == documented_keys(heading)


@pytest.mark.parametrize("heading", re.findall(r"^## (.+)$", CONFIGURATION, re.MULTILINE))
def test_every_section_with_a_table_of_keys_is_held_against_the_parser(heading: str) -> None:
    assert not documented_keys(heading) or heading in SECTIONS


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_agent_configuration_in_a_page_is_accepted(page: Path, tmp_path: Path) -> None:
    for language, block in FENCE.findall(page.read_text()):
        if language == "yaml":
            file = tmp_path / "agent.yaml"
            file.write_text(block)
            load(file)


# -- reason codes -------------------------------------------------------------------------------------------

CODES = {reason.code for reason in Reason}
# What looks like a code and is none: a package, a function of Rego, keys of the configuration; and paths of
# the policy's input, file names.
OTHERS = {
    "agent.conf",
    "mcp.authz",
    "http.send",
    "identity.hint",
    "identity.socket",
    "identity.spiffe_id",
    "workload.sock",
}
INPUT = (ROOT / "docs/reference/policy-input.md").read_text()


def input_paths() -> set[str]:
    """The first cells of its tables."""
    cells = [line.split("|")[1] for line in INPUT.splitlines() if line.startswith("|")]
    return {path for cell in cells for path in re.findall(r"`([\w.]+)`", cell)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_reason_code_in_a_page_is_one(page: Path) -> None:
    rooms = "|".join({code.partition(".")[0] for code in CODES})
    named = set(re.findall(rf"`((?:{rooms})\.(?!py`|rego`|conf`)[a-z_]+)`", page.read_text()))
    assert named - OTHERS - (input_paths() - CODES) <= CODES


# -- the verifier for programs ------------------------------------------------------------------------------

IDENTITY = (ROOT / "docs/reference/identity.md").read_text()


def test_the_documented_program_runs_and_says_why_a_chain_was_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ((_, program),) = [block for block in FENCE.findall(IDENTITY) if block[0] == "python"]
    exec(compile(program, "identity.md", "exec"), {})  # noqa: S102  our own page
    assert capsys.readouterr().out.startswith(f"{Reason.CERTIFICATE_EXPIRED.code} - at 20")


def test_the_rules_name_exactly_the_reasons_that_hostile_chains_are_refused_for() -> None:
    (_, _, rules) = IDENTITY.partition("| rule | reasons |")
    (rules, _, _) = rules.partition("\n\n")
    assert set(re.findall(r"`(identity\.[a-z_]+)`", rules)) == {reason.code for reason, _ in HOSTILE.values()}
