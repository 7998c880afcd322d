"""Documents that parsers have been seen to read differently, and documents made of their pieces.

`CASES` are named for what is odd about them; the parsers say by themselves what they make of each. `made`
makes any number more, each from a seed.
"""

import json
from random import Random
from typing import Any, Final

CALL: Final = (
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": @}}'
)


def _nested(depth: int, opening: bytes = b"[", closing: bytes = b"]", middle: bytes = b"1") -> bytes:
    return opening * depth + middle + closing * depth


# One value each, read where an argument stands.
VALUES: Final[dict[str, bytes]] = {
    # keys
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice, once escaped": b'{"a": 1, "\\u0061": 2}',
    "a key twice, far apart": b'{"a": 1, "b": {"a": 3}, "c": [], "a": 2}',
    "an empty key twice": b'{"": 1, "": 2}',
    "a key twice in a deep object": b'[[{"b": [{"a": 1, "a": 2}]}]]',
    "a key twice with surrogates": b'{"\\ud83d\\ude00": 1, "\xf0\x9f\x98\x80": 2}',
    "keys that differ in case": b'{"a": 1, "A": 2}',
    "keys that differ in normalisation": b'{"\xc3\xa9": 1, "e\xcc\x81": 2}',
    "a key of prototypes": b'{"__proto__": {"admin": true}, "constructor": 1}',
    "a key with a NUL": b'{"a\\u0000b": 1, "a": 2}',
    "keys that are numbers": b'{"2": 1, "1": 2, "-1": 3, "01": 4}',
    # numbers
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "minus Infinity": b"-Infinity",
    "a NaN of another case": b"nan",
    "2^53": b"9007199254740992",
    "2^53 + 1": b"9007199254740993",
    "2^63": b"9223372036854775808",
    "2^64": b"18446744073709551616",
    "an integer of 23 digits": b"12345678901234567890123",
    "an integer of 308 digits": b"9" * 308,
    "an integer that a double cannot hold": b"1" + b"0" * 309,
    "an integer of 400 digits": b"9" * 400,
    "an integer of 5000 digits": b"9" * 5000,
    "1.0": b"1.0",
    "1E5": b"1E5",
    "1e-7": b"1e-7",
    "minus 0": b"-0",
    "minus 0.0": b"-0.0",
    "1e0": b"1e0",
    "0.1 with 40 digits": b"0.1000000000000000055511151231257827021181",
    "half way between two doubles": b"9007199254740992.5",
    "just above half way": b"1.00000000000000011102230246251565405",
    "the largest double": b"1.7976931348623157e308",
    "rounds to infinity": b"1.7976931348623159e308",
    "the smallest double": b"5e-324",
    "half of the smallest double": b"2.4703282292062327e-324",
    "rounds to zero": b"1e-400",
    "1e400": b"1e400",
    "minus 1e400": b"-1e400",
    "a long exponent": b"1e" + b"0" * 300 + b"1",
    "a leading zero": b"01",
    "a leading plus": b"+1",
    "no digit before the point": b".5",
    "none after it": b"1.",
    "no exponent": b"1e",
    "hexadecimal": b"0x10",
    "octal": b"0o17",
    "binary": b"0b1",
    "underscores": b"1_000",
    "two minuses": b"--1",
    "digits of another script": "1\u0661".encode(),
    "a number in full width": "\uff11".encode(),
    # strings
    "a lone high surrogate": b'"\\ud800"',
    "a lone low surrogate": b'"\\udc00"',
    "surrogates the wrong way": b'"\\ude00\\ud83d"',
    "two high surrogates": b'"\\ud83d\\ud83d\\ude00"',
    "a lone surrogate as key": b'{"\\udfff": 1}',
    "a surrogate in two halves": b'"\\ud83d" "\\ude00"',
    "a surrogate in capitals": b'"\\uD83D\\uDE00"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "CESU-8": b'"\xed\xa0\xbd\xed\xb8\x80"',
    "an overlong slash": b'"\xc0\xaf"',
    "an overlong NUL": b'"\xc0\x80"',
    "an octet that begins nothing": b'"\xff"',
    "half a character": b'"\xe2\x82"',
    "beyond Unicode": b'"\xf4\x90\x80\x80"',
    "latin-1": b'"\xe9"',
    "U+2028 and U+2029": b'"\xe2\x80\xa8\xe2\x80\xa9"',
    "U+FFFE and U+FFFF": b'"\xef\xbf\xbe\xef\xbf\xbf"',
    "U+FEFF inside": b'"\xef\xbb\xbfa"',
    "U+FFFD as it is": b'"\xef\xbf\xbd"',
    "a NUL, escaped": b'"a\\u0000b"',
    "a NUL": b'"a\x00b"',
    "a tab": b'"a\tb"',
    "a line feed": b'"a\nb"',
    "DEL": b'"a\x7fb"',
    "U+0085": b'"a\xc2\x85b"',
    "an escaped slash": b'"\\/"',
    "an escape nobody knows": b'"\\a"',
    "an escape of C": b'"\\x41"',
    "an octal escape": b'"\\101"',
    "an escape cut short": b'"\\u12"',
    "an escape with a sign": b'"\\u+123"',
    "an escape with a gap": b'"\\u 123"',
    "an escape with an underscore": b'"\\u1_23"',
    "digits of another script, escaped": '"\\u066\u0661"'.encode(),
    "single quotes": b"'a'",
    "no quotes": b"abc",
    "a backslash at the end": b'"\\"',
    "a long s": b'"\xc5\xbf"',
    # form
    "a comma too many": b"[1, ]",
    "a comma too many in an object": b'{"a": 1, }',
    "a comma before": b"[, 1]",
    "two commas": b"[1,, 2]",
    "no comma": b"[1 2]",
    "no colon": b'{"a" 1}',
    "a key without quotes": b"{a: 1}",
    "a key that is a number": b"{1: 1}",
    "a comment": b"/* a */ 1",
    "a comment of a line": b"1 // a\n",
    "a hash": b"1 # a\n",
    "True": b"True",
    "None": b"None",
    "undefined": b"undefined",
    "TRUE": b"TRUE",
    "half a word": b"tru",
    "a vertical tab": b"\x0b1",
    "a form feed": b"\x0c1",
    "a no-break space": b"\xc2\xa01",
    "U+2028 outside": b"\xe2\x80\xa81",
    "U+FEFF outside": b"\xef\xbb\xbf1",
    "a NUL outside": b"\x001",
    "white space of all kinds": b" \t\r\n1\r\n\t ",
    "64 levels": _nested(60),
    "65 levels": _nested(65),
    "300 levels": _nested(300),
    "20000 levels": _nested(20_000),
    "20000 levels of objects": _nested(20_000, b'{"a":', b"}"),
    "unclosed": b"[" * 100,
    "a bracket of another kind": b"[1}",
}

PLAIN: Final = CALL.replace(b"@", b"{}")
# What each key of a call could say instead, and spellings that a parser which folds case takes for it.
OTHERWISE: Final = {
    "method": (b'"tools/list"', ("Method", "METHOD")),
    "params": (b'{"name": "pay"}', ("Params", "param\u017f")),
    "name": (b'"pay"', ("Name", "NAME")),
    "arguments": (b'{"a": 1}', ("Arguments", "argument\u017f")),
}


def _before(key: str, spelling: str, other: bytes) -> bytes:
    """A call with another member before `key`."""
    member = b'"%s": ' % key.encode()
    return PLAIN.replace(member, b'"%s": %s, %s' % (spelling.encode(), other, member), 1)


def _after(key: str, spelling: str, other: bytes) -> bytes:
    """A call with another member at the end of the object that has `key`."""
    inner = PLAIN[:-1] if key in ("method", "params") else PLAIN[:-2]
    return inner + b', "%s": %s' % (spelling.encode(), other) + PLAIN[len(inner) :]


# Whole documents.
DOCUMENTS: Final[dict[str, bytes]] = {
    "nothing": b"",
    "white space": b" \r\n",
    "a byte order mark": b"\xef\xbb\xbf" + PLAIN,
    "UTF-16": PLAIN.decode().encode("utf-16"),
    "UTF-16 without a mark": PLAIN.decode().encode("utf-16-le"),
    "UTF-32": PLAIN.decode().encode("utf-32"),
    "a NUL at the end": PLAIN + b"\0",
    "a second document": PLAIN + b"{}",
    "a second document on a line": PLAIN + b"\n{}",
    "a record separator": b"\x1e" + PLAIN,
    "the end of a file of old": PLAIN + b"\x1a",
    "a protection against hijacking": b")]}'\n" + PLAIN,
    "a batch": b"[" + PLAIN + b"]",
    **{f"{key} twice": _before(key, key, other) for key, (other, _) in OTHERWISE.items()},
    **{
        f"{spelling} {where.__name__[1:]} {key}": where(key, spelling, other)
        for key, (other, spellings) in OTHERWISE.items()
        for spelling in spellings
        for where in (_before, _after)
    },
    "name in another case only": PLAIN.replace(b'"name"', b'"Name"'),
    "method in another case only": PLAIN.replace(b'"method"', b'"Method"'),
}

CASES: Final[dict[str, bytes]] = {
    **{name: CALL.replace(b"@", value) for name, value in VALUES.items()},
    **{f"{name}, alone": value for name, value in VALUES.items()},
    **DOCUMENTS,
}

_PIECES: Final = (
    *VALUES.values(),
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"',
    b"\\",
    b"\\u",
    b"d83d",
    b"\\ude00",
    b"0",
    b"-",
    b".",
    b"e",
    b"E+",
    b"null",
    b"true",
    b"\xff",
    b"\xc3",
    b"\xa9",
    b" ",
    b"\n",
    b"\0",
    b"\xef\xbb\xbf",
    b'"name"',
    b'"Name"',
    b'"method"',
    b'"params"',
    b'"\\u006eame"',
)


def made(seed: int) -> bytes:
    """A document near the line between what is JSON and what is not."""
    random = Random(seed)  # noqa: S311  to be repeated, not to be secret
    document = bytearray(
        random.choice([CALL.replace(b"@", json.dumps(_value(random, 3)).encode()), *CASES.values()])
    )
    for _ in range(random.choice([0, 1, 1, 2, 4])):
        place = random.randrange(len(document) + 1)
        end = place + random.choice([0, 0, 1, 1, 3])
        document[place:end] = random.choice([b"", random.choice(_PIECES), random.randbytes(1)])
    return bytes(document)


def _value(random: Random, depth: int) -> Any:
    kinds = ["text", "integer", "float", "word"] + (["list", "object"] * 2 if depth else [])
    match random.choice(kinds):
        case "text":
            return "".join(chr(random.choice([65, 97, 0xE9, 0x2028, 0x1F600, 0x0, 0x7F])) for _ in range(3))
        case "integer":
            return random.choice([0, -1, 2**53, 2**64, random.getrandbits(200)])
        case "float":
            return random.choice([0.1, -0.0, 1e300, 5e-324, random.random()])
        case "word":
            return random.choice([None, True, False])
        case "list":
            return [_value(random, depth - 1) for _ in range(random.randrange(4))]
        case _:
            return {f"{random.choice('abA')}{number}": _value(random, depth - 1) for number in range(3)}
