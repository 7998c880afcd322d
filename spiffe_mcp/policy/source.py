r"""Rego source, read before the engine reads it: module text in, what it reads and calls out.

The embedded engine (rego-cpp) accepts modules that it then evaluates differently from what they say. Each
rule here closes one such gap, at compile time, with the line:

 1. A function that the engine declares but does not implement is undefined, and `not f(x)` is then true: a
    call has to be one of `FUNCTIONS` or defined by the policy.
 2. `regex.*` and `glob.match` backtrack: a caller's long text stops the agent, or overflows its stack.
    `replace` with an empty pattern never ends, `numbers.range` is as large as the caller says, `abs` makes 0
    of a small float, decoders make texts that the engine's output does not escape, `opa.runtime` holds the
    process environment, `time.now_ns` is a second clock, `print` writes to standard output. None is in
    `FUNCTIONS`.
 3. Texts are compared in their JSON form: a literal that says `\u0041` is not equal to "A".
 4. In `sprintf`, %d keeps 32 bits and %s cuts what is no text: %v is right for both.
 5. `"999" <= 100` is true: values of different types are ordered by their JSON form. See `ordering`. `max`,
    `min` and `sort` order in the same way, and are not in `FUNCTIONS`.
 6. `$"..."` holds code inside a text, where rule 1 would not see it.

`upper` and `lower` fold ASCII letters only.

What the modules read of `input` is collected, so that nothing else has to be converted for the engine. It is
an over-approximation: whatever cannot be read off the text counts as all of `input`.

Pure.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from spiffe_mcp.policy.tokens import Token, invalid, tokens_of, words

PACKAGE: Final = "mcp.authz"

FUNCTIONS: Final = words(
    "concat contains endswith format_int indexof lower split sprintf startswith strings.any_prefix_match "
    "strings.any_suffix_match substring trim trim_left trim_prefix trim_right trim_space trim_suffix upper "
    "array.concat array.reverse array.slice count intersection object.filter object.get object.keys "
    "object.remove object.union product set sum union walk ceil floor round semver.compare semver.is_valid "
    "is_array is_boolean is_null is_number is_object is_set is_string type_name"
)

# Names that the engine answers for without calling them built in; a rule of that name does not change it.
_RESERVED: Final = words(
    "array base64 base64url bits crypto glob graph graphql hex http internal io json net numbers object opa "
    "print providers rand regex rego semver strings time trace units urlquery uuid yaml"
)
_KEYWORDS: Final = frozenset({"if", "in", "not", "some", "every", "with", "as", "else", "default", "import"})
_STRANGE_ESCAPE: Final = re.compile(r"\\[^\"\\bfnrt]")
_STRANGE_VERB: Final = re.compile(r"%(?!v)[-+# 0-9.]*[a-zA-Z]")


@dataclass(frozen=True, slots=True)
class Module:
    """What one module says: its package, the heads of its rules, the paths it reads below `input`."""

    name: str
    tokens: tuple[Token, ...]
    package: str
    heads: frozenset[str]
    reads: frozenset[tuple[str, ...]]


def read_modules(modules: Mapping[str, str], is_builtin: Callable[[str], bool]) -> tuple[Module, ...]:
    """Every module of one policy, by file name; raises `Refused(POLICY_INVALID)` with file and line.

    `is_builtin` tells the names that the engine has functions for, safe or not.
    """
    read = tuple(_read(name, tuple(tokens_of(name, source))) for name, source in modules.items())
    defined = frozenset(head for module in read for head in module.heads)

    def may_call(function: str) -> bool:
        return _is_safe(function) or (_is_own(function, defined) and not is_builtin(function))

    for module in read:
        _check_literals(module.name, module.tokens)
        _check_calls(module.name, module.tokens, may_call)
    return read


def _read(name: str, tokens: tuple[Token, ...]) -> Module:
    package = _package(tokens)
    if not package:
        raise invalid(name, 1, "no package")
    return Module(name, tokens, package, frozenset(_heads(tokens)), frozenset(reads_in(tokens)))


def _package(tokens: tuple[Token, ...]) -> str:
    for before, token in pairwise(tokens):
        if before.text == "package" and before.is_first:
            return token.text
    return ""


def _heads(tokens: tuple[Token, ...]) -> Iterator[str]:
    """The names that this module defines or imports, by their first part."""
    for place, token in enumerate(tokens):
        if token.kind != "name" or not token.is_first:
            continue
        following = [later.text for later in tokens[place + 1 : place + 4]]
        if token.text == "default" and following:
            yield following[0].split(".")[0]
        elif token.text == "import" and following and following[0].startswith("data."):
            yield following[2] if following[1:2] == ["as"] else following[0].rpartition(".")[2]
        else:
            yield token.text.split(".")[0]


def reads_in(tokens: tuple[Token, ...]) -> Iterator[tuple[str, ...]]:
    """Paths below `input`, as often as they stand there; the empty path is all of it, `input` alone."""
    for token in tokens:
        first, *path = token.text.split(".") if token.kind == "name" else [""]
        if first == "input":
            yield tuple(path)


def _check_literals(name: str, tokens: tuple[Token, ...]) -> None:
    two_before = "", ""
    for token in tokens:
        if token.kind == "text" and (strange := _first_strange_escape(token.text)):
            raise invalid(name, token.line, f"write the character itself instead of {strange}")
        if two_before == ("sprintf", "(") and _STRANGE_VERB.search(token.text):
            raise invalid(name, token.line, "sprintf is right for %v only")
        two_before = two_before[1], token.text


def _first_strange_escape(literal: str) -> str | None:
    # Escapes are consumed in pairs, so that `\\\\u` is a backslash and a letter.
    escapes = re.findall(r"\\.", literal)
    return next((escape for escape in escapes if _STRANGE_ESCAPE.fullmatch(escape)), None)


def _check_calls(name: str, tokens: tuple[Token, ...], may_call: Callable[[str], bool]) -> None:
    for token, following in pairwise(tokens):
        if following.text != "(":
            continue
        if token.text == "]":
            raise invalid(name, token.line, "a call has to name its function")
        if token.kind == "name" and not may_call(token.text):
            raise invalid(name, token.line, f"{token.text} is not a function this engine may call")


def _is_safe(function: str) -> bool:
    return function in FUNCTIONS or function in _KEYWORDS


def _is_own(function: str, defined: frozenset[str]) -> bool:
    """Whether the policy may have defined `function`; a name it did not define is an error to the engine."""
    first = function.split(".", maxsplit=1)[0]
    return first == "data" or (first in defined and first not in _RESERVED)
