"""Text that a person and a model read alike: what a reviewer saw is all there is.

Enters: the strings of a manifest, at signing and again at loading. Leaves: nothing, or a refusal. Refused is
whatever can hide, reorder or imitate: text that is not NFC, control and format characters, private-use and
unassigned code points, line separators, variation selectors, the TAG block and other characters that are
drawn as nothing. Tool names are ASCII, which leaves no homoglyphs.

The price is known: emoji with joiners or presentation selectors, and scripts that need U+200C or U+200D, are
refused too. Which code points are assigned depends on the Unicode version of the Python that reads; a newer
character is refused by an older reader, never the other way round.

Pure. It knows strings and paths, nothing of manifests.
"""

import re
import unicodedata
from typing import Final

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.manifest.fields import item_path, member_path
from spiffe_mcp.strict_json import JsonValue

# MCP 2025-11-25 says SHOULD; here it is MUST.
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")

_PLAIN: Final = re.compile(r"[\n\t\x20-\x7e]*")
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})
# Drawn as nothing although their category is a letter, a mark or a symbol: variation selectors
# (FE00..FE0F, E0100..E01EF, Mongolian 180B..180F), grapheme joiner, Hangul fillers, Khmer inherent vowels,
# blank Braille (Unicode DerivedCoreProperties: Default_Ignorable_Code_Point, and U+2800).
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)


def check_tool_name(name: JsonValue, path: str) -> str:
    """`name` if it is a tool's name; raises `Refused(MANIFEST_TOOL_NAME)`."""
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise Refused(Reason.MANIFEST_TOOL_NAME, f"{path}: not 1 to 128 of A-Z a-z 0-9 _ . -")
    return name


def check_text(text: str, path: str) -> None:
    """Return if `text` shows everything it holds; raises `Refused(MANIFEST_TEXT)`, naming the code point."""
    if _PLAIN.fullmatch(text):
        return
    for character in text:
        if character in "\n\t":
            continue
        if unicodedata.category(character) in _REFUSED_CATEGORIES or _INVISIBLE.match(character):
            raise Refused(Reason.MANIFEST_TEXT, f"{path}: U+{ord(character):04X}")
    if not unicodedata.is_normalized("NFC", text):
        raise Refused(Reason.MANIFEST_TEXT, f"{path}: not in normalisation form C")


def check_texts(value: JsonValue, path: str) -> None:
    """`check_text` on every string inside `value`, the names of members included."""
    if isinstance(value, str):
        check_text(value, path)
    elif isinstance(value, dict):
        for key, member in value.items():
            check_text(key, f"{path}, a member's name")
            check_texts(member, member_path(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_texts(item, item_path(path, index))
