"""Writes what of `docs/reference` is made from the code; with `--check` it only tells whether to.

`methods.md` is of `methods_page`; `reasons.md` is made here, from `spiffe_mcp/errors.py`. Codes, sections,
HTTP statuses and the deciding modules are the code's own. What an operator reads of a code stands in
`reasons.toml` beside this file, a sentence or two for each, and no code is without.
"""  # noqa: INP001  scripts are no package

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from scripts.lib import methods_page
from spiffe_mcp.errors import Reason

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "spiffe_mcp"
MEANINGS: Final = Path(__file__).with_name("reasons.toml")
TARGET: Final = ROOT / "docs" / "reference" / "reasons.md"
METHODS: Final = ROOT / "docs" / "reference" / "methods.md"

# These put a reason into words for a caller, and decide nothing.
ANSWERING: Final = frozenset({"mcp/answers.py", "mesh/refusal.py"})

_SECTION: Final = re.compile(r"    # -- (.+?) -+$")
_MEMBER: Final = re.compile(r"    ([A-Z][A-Z0-9_]*) = \(")
_NAMED: Final = re.compile(r"\bReason\.([A-Z][A-Z0-9_]*)\b")

_INTRODUCTION: Final = """\
# Reasons

Every refusal has a reason: a stable code that never changes its meaning. It stands in the audit record
(`reason`), first on standard error when a command ends with exit code 1, and, where a caller may know it, in
the JSON-RPC error (`data.reason`). The status is the one of the HTTP answer, where there is one; 200 means a
JSON-RPC error inside an ordinary answer. A tool that a caller may not see is answered as "Unknown tool",
whatever the reason.

What exactly was found stands behind the code on standard error, and in the record as `error`: the detail.

The last column leads to the code that decides, with the clause that it follows. Made by `scripts/reference`.
"""


def reference() -> str:
    """The whole page."""
    said, deciding = meanings(), decided_in()
    rows = {
        name: _row(reason, said[reason.code], deciding[name]) for name, reason in Reason.__members__.items()
    }
    return "".join(
        [_INTRODUCTION, *(_section(title, map(rows.__getitem__, names)) for title, names in sections())]
    )


def meanings() -> dict[str, str]:
    """What happened and what to do about it, by code."""
    rooms: dict[str, dict[str, str]] = tomllib.loads(MEANINGS.read_text())
    return {f"{room}.{word}": said for room, words in rooms.items() for word, said in words.items()}


def sections() -> Iterator[tuple[str, list[str]]]:
    """The sections of the enumeration, each with the names of its members, in their order."""
    title, names = "", list[str]()
    for line in (PACKAGE / "errors.py").read_text().splitlines():
        if found := _SECTION.match(line):
            if names:
                yield title, names
            title, names = found[1], []
        elif found := _MEMBER.match(line):
            names.append(found[1])
    yield title, names


def decided_in() -> dict[str, list[str]]:
    """Where each reason is decided: member name to modules, relative to the package."""
    deciding: dict[str, list[str]] = {name: [] for name in Reason.__members__}
    for module in sorted(PACKAGE.rglob("*.py")):
        path = module.relative_to(PACKAGE).as_posix()
        if path not in ANSWERING:
            for name in dict.fromkeys(_NAMED.findall(module.read_text())):
                deciding[name].append(path)
    return deciding


def _section(title: str, rows: Iterable[str]) -> str:
    heading = "| code | status | what happened, and what to do | decided in |\n|---|---|---|---|\n"
    return f"\n## {title[0].upper()}{title[1:]}\n\n{heading}{''.join(rows)}"


def _row(reason: Reason, meaning: str, modules: list[str]) -> str:
    links = ", ".join(f"[{module}](../../spiffe_mcp/{module})" for module in modules)
    return f"| `{reason.code}` | {reason.status.value} | {meaning} | {links} |\n"


def main(arguments: list[str]) -> int:
    """0 if the pages are up to date now."""
    pages = {TARGET: reference(), METHODS: methods_page.page()}
    if arguments == ["--check"]:
        return int(any(not path.exists() or path.read_text() != page for path, page in pages.items()))
    for path, page in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
