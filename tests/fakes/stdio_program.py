"""An MCP server over stdio, as a program of its own: `python stdio_program.py [--era ERA] [--mute]`.

Its one tool that says anything is `echo`; what it is to say may also be what it is to do: see `_ACTS`. It
imports nothing but the standard library, and knows nothing of the mesh. `both` eras are spoken by default.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODERN, LEGACY = "2026-07-28", "2025-11-25"
INPUT = {"type": "object", "properties": {"text": {"type": "string"}}, "additionalProperties": False}
TOOLS = [
    {"name": name, "description": f"The tool {name}.", "inputSchema": INPUT}
    for name in ("changed", "echo", "hidden", "pay")
]
CAPABILITIES = {"tools": {"listChanged": True}}

era = sys.argv[sys.argv.index("--era") + 1] if "--era" in sys.argv else "both"
waiting: list[dict[str, Any]] = []


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(asked: dict[str, Any], text: str) -> None:
    result = {"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": False}
    say({"id": asked["id"], "result": result})


def fail(asked: dict[str, Any], code: int) -> None:
    say({"id": asked["id"], "error": {"code": code, "message": "no"}})


def progress(asked: dict[str, Any], _: str) -> None:
    token = asked["params"].get("_meta", {}).get("progressToken")
    say({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
    answer(asked, "after progress")


def wait(asked: dict[str, Any], _: str) -> None:
    """Until it is cancelled, or somebody says `go`."""
    waiting.append(asked)
    sys.stderr.write("waiting\n")
    sys.stderr.flush()


def go(asked: dict[str, Any], _: str) -> None:
    while waiting:
        answer(waiting.pop(), "gone")
    answer(asked, "go")


def ask(asked: dict[str, Any], _: str) -> None:
    """Something of the client."""
    waiting.append(asked)
    say({"id": "mine", "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}})


def note(asked: dict[str, Any], _: str) -> None:
    say({"method": "notifications/message", "params": {"level": "info", "data": "noted"}})
    answer(asked, "noted")


def note_and_kill(*_: object) -> None:
    say({"method": "notifications/message", "params": {"level": "info", "data": "noted"}})
    os.kill(os.getpid(), signal.SIGKILL)


def chatter(asked: dict[str, Any], text: str) -> None:
    sys.stdout.write("hello, I am no message\n")
    answer(asked, text)


def garbled(asked: dict[str, Any], _: str) -> None:
    sys.stdout.write(f'{{"jsonrpc": "2.0", "id": {asked["id"]}, "result": {{}}, "result": {{}}}}\n')
    sys.stdout.flush()


def complain(asked: dict[str, Any], text: str) -> None:
    sys.stderr.write(text.partition(" ")[2] + "\n")
    sys.stderr.flush()
    answer(asked, "complained")


def large(asked: dict[str, Any], text: str) -> None:
    answer(asked, "x" * int(text.partition(" ")[2]))


def deaf(asked: dict[str, Any], _: str) -> None:
    answer(asked, "deaf from now on")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def descendant(asked: dict[str, Any], _: str) -> None:
    """A process of its own, which keeps the pipes open."""
    child = os.fork()
    if child == 0:
        time.sleep(3600)
    answer(asked, str(child))


_ACTS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "pid": lambda asked, _: answer(asked, str(os.getpid())),
    "env": lambda asked, _: answer(asked, json.dumps(dict(os.environ), sort_keys=True)),
    "fds": lambda asked, _: answer(asked, json.dumps([*map(str, Path("/proc/self/fd").iterdir())])),
    "cwd": lambda asked, _: answer(asked, str(Path.cwd())),
    "kill": lambda *_: os.kill(os.getpid(), signal.SIGKILL),
    "note-and-kill": note_and_kill,
    "crash": lambda *_: os._exit(3),
    "progress": progress,
    "wait": wait,
    "go": go,
    "ask": ask,
    "note": note,
    "chatter": chatter,
    "garbled": garbled,
    "complain": complain,
    "large": large,
    "deaf": deaf,
    "descendant": descendant,
}


def call(asked: dict[str, Any]) -> None:
    text = asked["params"].get("arguments", {}).get("text", "")
    _ACTS.get(text.partition(" ")[0], answer)(asked, text)


def request(asked: dict[str, Any]) -> None:
    method = asked["method"]
    modern = "io.modelcontextprotocol/protocolVersion" in asked.get("params", {}).get("_meta", {})
    if modern and era == "legacy":
        fail(asked, -32601)
    elif method == "server/discover":
        result = {"supportedVersions": [MODERN], "capabilities": CAPABILITIES, "resultType": "complete"}
        say({"id": asked["id"], "result": result | {"serverInfo": {"name": "program", "version": "1"}}})
    elif method == "initialize" and era != "modern":
        info = {"serverInfo": {"name": "program", "version": "1"}}
        say({"id": asked["id"], "result": {"protocolVersion": LEGACY, "capabilities": CAPABILITIES, **info}})
    elif method == "tools/list":
        kind: dict[str, Any] = {"resultType": "complete"} if modern else {}
        say({"id": asked["id"], "result": {**kind, "tools": TOOLS}})
    elif method == "tools/call":
        call(asked)
    elif method == "ping":
        say({"id": asked["id"], "result": {}})
    else:
        fail(asked, -32601)


def main() -> None:
    if "--mute" in sys.argv:
        sys.stdin.read()
        return
    for line in sys.stdin:
        message = json.loads(line)
        if "method" not in message:
            answer(waiting.pop(), json.dumps(message, sort_keys=True))  # the client's, to `ask`
        elif "id" in message:
            request(message)
        elif message["method"] == "notifications/cancelled":
            sys.stderr.write(f"cancelled {message['params']['requestId']!r}\n")
            sys.stderr.flush()


if __name__ == "__main__":
    main()
