"""What one text says to a model besides what it says of its tool.

Enters: a title, a description, a default, a member's name, with its place. Leaves: findings. The patterns are
those of published attacks on MCP clients ("tool poisoning"): hidden characters, orders to the model, secrecy,
secrets, exfiltration by links. They are matched in NFKC and lower case, so that full-width letters hide
nothing.

Pure.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import Final

from spiffe_mcp.errors import Refused
from spiffe_mcp.manifest.lint.finding import Finding, Rule
from spiffe_mcp.manifest.text import check_text

MAX_REVIEWED: Final = 2000  # characters

_WORDS: Final[dict[Rule, re.Pattern[str]]] = {
    Rule.INSTRUCTION: re.compile(
        r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,40}\b(?:previous|prior|above|earlier|other|all|system)\b"
        r"|\bsystem\s+(?:prompt|message|instruction)s?\b"
        r"|<\s*/?\s*(?:important|system|instructions?|secret|assistant|user|tool_call)\b"
        r"|\b(?:before|after|prior\s+to|whenever)\s+(?:using|calling|you\s+(?:use|call))\b"
        r"|\byou\s+(?:must|should\s+always|are\s+now|have\s+to)\b"
        r"|\bas\s+an?\s+(?:ai|assistant|language\s+model)\b"
        r"|\b(?:dear|attention|note\s+to)\s+(?:ai|llm|model|assistant|claude|gpt|gemini)\b"
        r"|\b(?:do\s+not|don'?t|never)\s+(?:ask|wait\s+for|require)\b[^.\n]{0,30}\b(?:confirm|approv|permission)"
    ),
    Rule.SECRECY: re.compile(
        r"\b(?:do\s+not|don'?t|never|without)\s+"
        r"(?:mention|tell|telling|inform|informing|reveal|show|notify|notifying|disclose|alert)"
        r"|\b(?:keep|hide|conceal)\b[^.\n]{0,40}\b(?:from\s+(?:the\s+)?users?|secret|hidden)\b"
        r"|\bthe\s+user\s+(?:must|should|does|need)\s*n[o']t\b"
    ),
    Rule.SECRET: re.compile(
        r"\b(?:api|access|private|secret|ssh|signing)[\s_-]?(?:key|token)s?\b"
        r"|\b(?:password|passphrase|credential|bearer\s+token|client[\s_-]?secret|session\s+cookie)s?\b"
        r"|~/\.\w+|\.ssh\b|\bid_(?:rsa|ed25519|ecdsa)\b|\.env\b|\bmcp\.json\b|\.netrc\b|\.aws\b|\.kube\b"
        r"|/etc/(?:passwd|shadow)\b|\bconversation\s+history\b|\bcontext\s+window\b"
    ),
    Rule.LINK: re.compile(r"\b(?:https?|ftp|data|javascript|file)\s*:(?=\S)"),
    Rule.MARKUP: re.compile(r"<!--|</?[a-z][a-z0-9-]*(?:\s[^<>]*)?>|!\[[^\]]*\]\(|```"),
    Rule.ENCODED: re.compile(r"[a-z0-9+/_-]{80,}={0,2}|(?:\\x[0-9a-f]{2}|%[0-9a-f]{2}|\\u[0-9a-f]{4}){8,}"),
}
_GAP: Final = re.compile(r"[ \t]{24,}|(?:[ \t]*\n){5,}")
_ESCAPE: Final = re.compile("[\x1b\x9b]")  # ESC, and the one-byte CSI (ECMA-48 section 5.4)
_LETTERS: Final = re.compile(r"[^\W\d_]+")
# Scripts whose letters are drawn like one another's (Unicode TR 39 section 4, confusables across scripts).
_CONFUSED: Final = frozenset(
    {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "FULLWIDTH", "MATHEMATICAL"}
)


def check_wording(text: str, place: str) -> Iterator[Finding]:
    """What a reader would stop at in `text`, at most one finding for each rule."""
    yield from _hidden(text, place)
    plain = unicodedata.normalize("NFKC", text).lower()
    for rule, pattern in _WORDS.items():
        if found := pattern.search(plain):
            yield Finding.at(rule, place, found[0])
    if found := _GAP.search(text):
        yield Finding.at(Rule.OFF_SCREEN, place, text[found.end() :] or found[0])
    if len(text) > MAX_REVIEWED:
        yield Finding.at(Rule.LONG, place, f"{len(text)} characters")


def _hidden(text: str, place: str) -> Iterator[Finding]:
    if found := _ESCAPE.search(text):
        yield Finding.at(Rule.TERMINAL, place, text[found.start() :])
    else:
        try:
            check_text(text, place)
        except Refused as refusal:
            yield Finding.at(Rule.HIDDEN_TEXT, place, refusal.detail.rpartition(": ")[2])
    if word := next((word for word in _LETTERS.findall(text) if _is_mixed(word)), None):
        yield Finding.at(Rule.LOOKALIKE, place, word)


def _is_mixed(word: str) -> bool:
    """Whether letters of two scripts that look alike stand in one word (Unicode TR 39 section 5.1)."""
    if word.isascii():
        return False
    scripts = {unicodedata.name(letter, "").partition(" ")[0] for letter, _ in groupby(word)}
    return len(scripts & _CONFUSED) > 1
