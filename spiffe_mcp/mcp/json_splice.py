"""Changing members of a JSON object in its text: every other byte stays as it is.

Enters: the text of strict JSON, already read (`strict_json`: no key twice, nothing after it), and what is to
become of some members. Leaves: the text. What was not changed keeps its spelling: numbers, white space,
escapes, members that nobody knows. Pure; must not know what any member means.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

# Another value, in JSON; or, of an array, which of its elements are kept.
Change: TypeAlias = bytes | Sequence[bool]

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


def spliced(document: bytes, outer: str, changes: Mapping[str, Change]) -> bytes:
    """`document` with `changes` to the object that is its member `outer`.

    A member that is not there is added in front, if the change is a value. Raises `ValueError` for elements
    of an array that is not there, or has another length.
    """
    text = document.decode("utf-8")
    start = next(begin for key, begin, _ in _members(text, _after_space(text, 0)) if key == outer)
    pieces: list[str] = []
    done, absent = start + 1, dict(changes)
    for key, begin, end in _members(text, start):
        if key in absent:
            pieces += (text[done:begin], _changed(text[begin:end], absent.pop(key)))
            done = end
    added = _added(absent, is_empty=text[_after_space(text, start + 1)] == "}")
    return "".join((text[: start + 1], added, *pieces, text[done:])).encode("utf-8")


def _added(members: Mapping[str, Change], *, is_empty: bool) -> str:
    written = [f"{json.dumps(key)}:{_changed('', value)}" for key, value in members.items()]
    return ",".join(written) + ("," if written and not is_empty else "")


def _changed(value: str, change: Change) -> str:
    if isinstance(change, bytes):
        return change.decode("utf-8")
    elements = [value[begin:end] for begin, end in _elements(value)]
    return f"[{','.join(element for element, kept in zip(elements, change, strict=True) if kept)}]"


def _members(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """Key, begin and end of the value, of each member of the object that begins at `start`."""
    place = _after_space(text, start + 1)
    while text[place] != "}":
        key, place = _DECODER.raw_decode(text, place)
        begin = _after_space(text, _after_space(text, place) + 1)  # behind the colon
        _, end = _DECODER.raw_decode(text, begin)
        yield key, begin, end
        place = _next(text, end)


def _elements(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each element of the array that `text` is."""
    if not text.startswith("["):
        raise ValueError("no array")
    place = _after_space(text, 1)
    while text[place] != "]":
        _, end = _DECODER.raw_decode(text, place)
        yield place, end
        place = _next(text, end)


def _next(text: str, end: int) -> int:
    """Where the next item begins, or the bracket that closes them all stands."""
    place = _after_space(text, end)
    return _after_space(text, place + 1) if text[place] == "," else place


def _after_space(text: str, place: int) -> int:
    space = _SPACE.match(text, place)
    return space.end() if space else place
