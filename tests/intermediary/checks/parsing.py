"""Points 1 to 3, 5 and 6: one reading of every body, and only methods that are known."""

import json
from typing import Final

from tests.intermediary.check import Bench, check
from tests.intermediary.client import Outgoing
from tests.intermediary.mcp import call, fresh_id, legacy, legacy_call, modern

GOOD: Final = call("echo", text="suite-parsing")
LIMIT: Final = 4 * 1024 * 1024  # bytes of a body, which the checklist allows at most


def with_argument(written: bytes) -> Outgoing:
    """A call whose one argument is written so."""
    good = call("echo", value="@")
    return good.saying(good.body.replace(b'"@"', written))


async def all_refused(bench: Bench, *requests: Outgoing) -> None:
    for request in requests:
        await bench.refused(request)
    await bench.serves()


@check(1, "RFC 8259 section 8.1")
async def a_body_in_another_encoding_is_refused(bench: Bench) -> None:
    text = GOOD.body.decode()
    await all_refused(bench, *(GOOD.saying(text.encode(name)) for name in ("utf-16", "utf-16-le", "utf-32")))


@check(1, "RFC 8259 section 8.1")
async def a_byte_order_mark_is_refused(bench: Bench) -> None:
    await all_refused(bench, GOOD.saying(b"\xef\xbb\xbf" + GOOD.body))


@check(1, "RFC 3629 section 3")
async def octets_that_are_no_utf_8_are_refused(bench: Bench) -> None:
    octets = (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82")
    await all_refused(bench, *(with_argument(b'"%s"' % wrong) for wrong in octets))


@check(1, "Streamable HTTP, Sending Messages")
async def a_body_that_is_not_said_to_be_json_is_refused(bench: Bench) -> None:
    kinds = ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-7")
    await all_refused(
        bench, *(GOOD.replacing("Content-Type", kind) for kind in kinds), GOOD.without("Content-Type")
    )


@check(1, "MCP 2026-07-28 security best practices")
async def a_body_of_more_than_4_mib_is_refused(bench: Bench) -> None:
    await all_refused(bench, call("echo", text="x" * LIMIT))


@check(1, "RFC 8259 section 9")
async def a_body_of_ten_thousand_levels_is_refused(bench: Bench) -> None:
    await all_refused(
        bench,
        with_argument(b"[" * 10_000 + b"]" * 10_000),
        with_argument(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    )


@check(1, "RFC 8259 section 6")
async def numbers_that_are_none_are_refused(bench: Bench) -> None:
    written = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"01", b"+1", b".5", b"1.", b"0x10", b"1_000")
    await all_refused(bench, *map(with_argument, written))


@check(1, "RFC 8259 section 7")
async def lone_surrogates_are_refused(bench: Bench) -> None:
    await all_refused(bench, *map(with_argument, (b'"\\ud800"', b'"\\udfff"', b'{"\\ud800": 1}')))


@check(2, "RFC 8259 section 4")
async def a_key_of_the_envelope_that_comes_twice_is_refused(bench: Bench) -> None:
    body = GOOD.body
    twice = (
        body.replace(b'"method": ', b'"method": "tools/list", "method": ', 1),
        body.replace(b'"params": ', b'"params": {"name": "strict"}, "params": ', 1),
        body.replace(b'"name": ', b'"name": "hidden", "name": ', 1),
        body.replace(b'"name": "echo"', b'"name": "echo", "n\\u0061me": "hidden"', 1),
        body.replace(b'"_meta": ', b'"_meta": {}, "_meta": ', 1),
        body.replace(b'"id": ', b'"id": 7, "id": ', 1),
    )
    assert len({body, *twice}) == 7
    await all_refused(bench, *map(GOOD.saying, twice))


@check(2, "RFC 8259 section 4")
async def a_key_of_the_arguments_that_comes_twice_is_refused(bench: Bench) -> None:
    await all_refused(bench, *map(with_argument, (b'{"a": 1, "a": 2}', b'[{"": 1, "": 2}]')))


@check(2, "RFC 8259 section 4; Go encoding/json folds case")
async def a_key_of_the_envelope_in_another_case_is_refused(bench: Bench) -> None:
    body = GOOD.body
    other = (
        body.replace(b'"method": ', b'"Method": "tools/list", "method": ', 1),
        body.replace(b'"params": ', b'"PARAMS": {"name": "hidden"}, "params": ', 1),
        body.replace(b'"name": ', b'"Name": "hidden", "name": ', 1),
        body.replace(b'"arguments": ', b'"argument\\u017f": {}, "arguments": ', 1),
        body.replace(b'"_meta": ', b'"_META": {}, "_meta": ', 1),
        body.replace(b'"id": ', b'"ID": 7, "id": ', 1),
    )
    assert len({body, *other}) == 7
    await all_refused(bench, *map(GOOD.saying, other))


@check(3, "MCP 2025-06-18 changelog: no batching")
async def a_batch_is_refused_in_every_era(bench: Bench) -> None:
    old = legacy_call("echo", text="suite-batch")
    await all_refused(
        bench,
        GOOD.saying(b"[" + GOOD.body + b"]"),
        old.saying(b"[" + old.body + b"]"),
        old.saying(b"[%s,%s]" % (old.body, old.body)).without("MCP-Protocol-Version"),
        legacy("tools/list", version="2025-03-26").saying(b"[" + old.body + b"]"),
    )


@check(3, "RFC 8259 section 2")
async def what_follows_the_first_value_is_refused(bench: Bench) -> None:
    trailing = (GOOD.body, b"{}", b"\0", b"x", b",", b"]", b"// suite-", b"/* suite- */", b"\x1a")
    await all_refused(bench, *(GOOD.saying(GOOD.body + more) for more in trailing))


@check(5, "JSON-RPC 2.0 section 4; MCP basic/index, Requests")
async def an_id_is_a_string_or_an_integer(bench: Bench) -> None:
    for written in (b"null", b"1.5", b"true", b"[]", b"{}"):
        identifier = json.dumps(json.loads(GOOD.body)["id"]).encode()
        await bench.refused(GOOD.saying(GOOD.body.replace(identifier, written, 1)))
    await bench.serves()


@check(5, "JSON-RPC 2.0 section 5")
async def an_id_comes_back_as_it_was_sent(bench: Bench) -> None:
    for identifier in (7, "7", 0, -1, "suite-\u00e9\u2028", 2**53 - 1):
        answer = await bench.ask(
            modern("tools/call", {"name": "echo", "arguments": {}}, message_id=identifier)
        )
        assert "result" in answer.response
        assert (type(answer.response["id"]), answer.response["id"]) == (type(identifier), identifier)


@check(5, "JSON-RPC 2.0 section 4.1")
async def a_call_without_an_id_is_not_executed(bench: Bench) -> None:
    for request in (GOOD, legacy_call("echo", text="suite-notified")):
        message = json.loads(request.body)
        del message["id"]
        mark = len(bench.upstream.received)
        await bench.ask(request.saying(json.dumps(message).encode()))
        assert not bench.upstream.since(mark), "a call that cannot be answered reached the server"


@check(6, "Streamable HTTP 2026-07-28, Server Validation: 404 and -32601")
async def an_unknown_method_is_refused_and_passed_on_to_nobody(bench: Bench) -> None:
    for method in ("tools/burn", "tools/Call", "rpc.discover", f"{fresh_id()}/x", "initialize"):
        await bench.refused(modern(method), status=404, code=-32601)
    await bench.serves()


@check(6, "JSON-RPC 2.0 section 5.1")
async def an_unknown_method_of_the_legacy_era_is_answered_as_a_call(bench: Bench) -> None:
    for method in ("tools/burn", "server/discover", "subscriptions/listen"):
        await bench.refused(legacy(method, {"name": fresh_id()}), status=200, code=-32601)


@check(6, "MCP 2026-07-28 server features")
async def the_other_primitives_pass(bench: Bench) -> None:
    reference = {"type": "ref/prompt", "name": "greet"}
    asked = (
        modern("prompts/list"),
        modern("prompts/get", {"name": "greet", "arguments": {"who": "you"}}),
        modern("resources/list"),
        modern("resources/templates/list"),
        modern("resources/read", {"uri": "test://a/b?c=\u00e9"}),
        modern("completion/complete", {"ref": reference, "argument": {"name": "who", "value": "y"}}),
    )
    for request in asked:
        assert json.loads(await bench.passes(request)) == json.loads(request.body)
