"""Every call has an ID and words of its own, and all calls of a target have one size."""

import json
import re

import pytest

from scripts.benchmarks import calls
from scripts.benchmarks.calls import Form

FORMS = [calls.modern(), calls.legacy("desk-echo", (("Authorization", "Bearer x"),))]


@pytest.mark.parametrize("form", FORMS, ids=["modern", "legacy"])
def test_what_varies_is_the_id_and_the_end_of_the_text(form: Form) -> None:
    one, other = (json.loads(form.filled(calls.FIRST_ID + number)) for number in (1, 2))
    assert one["id"] == calls.FIRST_ID + 1
    assert other["id"] == calls.FIRST_ID + 2
    assert one["params"]["arguments"] == {"text": calls.text_of(one["id"])}
    assert len(form.filled(calls.FIRST_ID)) == len(form.filled(calls.FIRST_ID + 7_777_777))


def test_a_modern_call_says_in_headers_what_it_says_in_its_body() -> None:
    form = calls.modern("echo")
    body = json.loads(form.filled(calls.FIRST_ID))
    assert dict(form.headers)["Mcp-Method"] == body["method"]
    assert dict(form.headers)["Mcp-Name"] == body["params"]["name"]
    [version] = [value for key, value in body["params"]["_meta"].items() if key.endswith("protocolVersion")]
    assert dict(form.headers)["MCP-Protocol-Version"] == version


def test_the_script_for_wrk_puts_the_same_request_together() -> None:
    form = calls.modern()
    script = calls.script(form, "http://127.0.0.1:4711/server-0/mcp")
    literals = re.search(r'local head, between, after = "(.*)", "(.*)", "(.*)"', script)
    assert literals is not None
    head, between, after = (unescaped(text) for text in literals.groups())
    digits = str(calls.FIRST_ID)
    request, _, body = (head + digits + between + digits + after).partition("\r\n\r\n")
    assert body.encode() == form.filled(calls.FIRST_ID)
    assert request.startswith("POST /server-0/mcp HTTP/1.1\r\nHost: 127.0.0.1:4711\r\n")
    assert f"Content-Length: {len(body.encode())}\r\n" in request


def unescaped(literal: str) -> str:
    return re.sub(r"\\(\d{3})", lambda found: chr(int(found[1])), literal)
