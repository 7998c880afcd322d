"""How the parsers of MCP servers and clients read a JSON document: Python's, jiter's, JavaScript's and Go's.

    readings = JAVASCRIPT.read([b'{"a": 1}', ...])       # one `Reading` for each document

A reading is in a normal form that all of them can be brought to; two that are equal are the same value to
whoever acts upon it. Numbers are compared as doubles, which is all that some have.
"""

import json
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final, NamedTuple

import orjson
import pydantic_core
from mcp_types import JSONRPCRequest, jsonrpc_message_adapter

PARSERS: Final = Path(__file__).parents[1] / "interop" / "parsers"
REFUSED: Final = "!"


class Reading(NamedTuple):
    """What a parser made of a document: the value, and the call in it. `!` is refused, or absent."""

    value: str
    method: str = REFUSED
    name: str = REFUSED
    arguments: str = REFUSED


@dataclass(frozen=True)
class Reader:
    """One parser. `missing` says why it cannot be asked on this machine."""

    name: str
    read: Callable[[Sequence[bytes]], list[Reading]]
    missing: str | None = None


def normal(value: Any) -> str:
    """The normal form of `parsers/read.js`."""
    match value:
        case None:
            return "n"
        case bool():
            return "t" if value else "f"
        case int() | float():
            return _double(value)
        case str():
            return '"' + value.encode("utf-16-be", "surrogatepass").hex()
        case list():
            return f"[{','.join(map(normal, value))}]"
        case _:
            return (
                f"{{{','.join(sorted(f'{normal(key)}:{normal(member)}' for key, member in value.items()))}}}"
            )


def _double(number: float) -> str:
    try:
        return "d" + struct.pack(">d", float(number) or 0.0).hex()  # one zero, whatever its sign
    except OverflowError:
        return f"an integer of {len(str(number))} digits"


def reading_of(value: Any) -> Reading:
    """As a server reads it that takes the members it knows from a dictionary."""
    params = value.get("params") if isinstance(value, dict) else None
    method = value.get("method", ...) if isinstance(value, dict) else ...
    if not isinstance(params, dict):
        params = {}
    named = (method, params.get("name", ...), params.get("arguments", ...))
    return Reading(normal(value), *(REFUSED if member is ... else normal(member) for member in named))


def _in_process(parse: Callable[[bytes], Any]) -> Callable[[Sequence[bytes]], list[Reading]]:
    def read_one(document: bytes) -> Reading:
        try:
            return reading_of(parse(document))
        except (ValueError, RecursionError):
            return Reading(REFUSED)

    return lambda documents: [read_one(document) for document in documents]


def _program(command: Callable[[], list[str]]) -> Callable[[Sequence[bytes]], list[Reading]]:
    def read(documents: Sequence[bytes]) -> list[Reading]:
        lines = "".join(f"{document.hex()}\n" for document in documents)
        ran = subprocess.run(command(), input=lines, capture_output=True, text=True, check=True, timeout=60)
        readings = [Reading(*line.split("\t")) for line in ran.stdout.splitlines()]
        assert len(readings) == len(documents)
        return readings

    return read


@cache
def _go() -> str:
    """The Go program, built once for this process."""
    binary = Path(mkdtemp(prefix="parsers-")) / "parsers"
    subprocess.run(
        ["go", "build", "-o", str(binary), "."], cwd=PARSERS, check=True, capture_output=True, timeout=300
    )
    return str(binary)


def _not_on_path(program: str) -> str | None:
    return None if shutil.which(program) else f"{program} is not on PATH"


def _sdk(documents: Sequence[bytes]) -> list[Reading]:
    """The calls that the Python SDK makes of them, over stdio and in answers; no values."""
    return list(map(_sdk_one, documents))


def _sdk_one(document: bytes) -> Reading:
    try:
        message = jsonrpc_message_adapter.validate_json(document, by_name=False)
    except ValueError:
        return Reading(REFUSED)
    if not isinstance(message, JSONRPCRequest):
        return Reading(REFUSED)
    call = reading_of({"method": message.method, "params": message.params})
    return call._replace(value=REFUSED)


READERS: Final = (
    Reader("the Python SDK's models", _sdk),
    Reader("Python's json", _in_process(json.loads)),
    Reader("jiter, of pydantic and the Python SDK", _in_process(pydantic_core.from_json)),
    Reader("orjson", _in_process(orjson.loads)),
    Reader("JSON.parse", _program(lambda: ["node", str(PARSERS / "read.js")]), _not_on_path("node")),
    Reader("Go's encoding/json", _program(lambda: [_go()]), _not_on_path("go")),
)
