"""Writes `docs/reference/reasons.md` from `spiffe_mcp/errors.py`; with `--check` it only tells whether to.

What a code means stands in its name and in the room that decides it. So the page is a table of codes, HTTP
statuses and links to the deciding modules, and cannot say anything that the code does not.
"""  # noqa: INP001  scripts are no package

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from spiffe_mcp.errors import Reason

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "spiffe_mcp"
TARGET: Final = ROOT / "docs" / "reference" / "reasons.md"

# These put a reason into words for a caller, and decide nothing.
ANSWERING: Final = frozenset({"mcp/answers.py", "mesh/refusal.py"})

_SECTION: Final = re.compile(r"    # -- (.+?) -+$")
_MEMBER: Final = re.compile(r"    ([A-Z][A-Z0-9_]*) = \(")
_NAMED: Final = re.compile(r"\bReason\.([A-Z][A-Z0-9_]*)\b")

_ACRONYMS: Final = {
    "api": "API",
    "ca": "CA",
    "crl": "CRL",
    "id": "ID",
    "mcp": "MCP",
    "san": "SAN",
    "sans": "SANs",
    "svid": "SVID",
    "uri": "URI",
    "utf8": "UTF-8",
}

_INTRODUCTION: Final = """\
# Reasons

Every refusal has a reason: a stable code that never changes its meaning. It stands in the audit record
(`reason`), first on standard error when a command ends with exit code 1, and, where a caller may know it, in
the JSON-RPC error (`data.reason`). The status is the one of the HTTP answer, where there is one; 200 means a
JSON-RPC error inside an ordinary answer. A tool that a caller may not see is answered as "Unknown tool",
whatever the reason.

The last column leads to the code that decides, with the clause that it follows. Made by `scripts/reference`.
"""


def reference() -> str:
    """The whole page."""
    deciding = decided_in()
    return "".join([_INTRODUCTION, *(_section(title, names, deciding) for title, names in sections())])


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


def _section(title: str, names: list[str], deciding: dict[str, list[str]]) -> str:
    heading = (
        f"\n## {title[0].upper()}{title[1:]}\n\n| code | status | meaning | decided in |\n|---|---|---|---|\n"
    )
    return heading + "".join(_row(Reason[name], deciding[name]) for name in names)


def _row(reason: Reason, modules: list[str]) -> str:
    meaning = " ".join(_ACRONYMS.get(word, word) for word in reason.code.partition(".")[2].split("_"))
    links = ", ".join(f"[{module}](../../spiffe_mcp/{module})" for module in modules)
    return f"| `{reason.code}` | {reason.status.value} | {meaning} | {links} |\n"


def main(arguments: list[str]) -> int:
    """0 if the page is up to date now."""
    page = reference()
    if arguments == ["--check"]:
        return 0 if TARGET.exists() and TARGET.read_text() == page else 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
