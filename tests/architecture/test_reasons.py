"""A reason is a promise: unique, spelled alike, decided somewhere, tested somewhere, documented."""

import re
from pathlib import Path

import pytest

from scripts.lib import reference
from spiffe_mcp.errors import Reason

TESTS = Path(__file__).parents[1]
HERE = Path(__file__)

# Why no test names a reason. This list may only become shorter.
UNTESTED = {
    Reason.DEV_NO_IDENTITY: "leaves the provider as gRPC's PERMISSION_DENIED, which is what its tests see",
}


def named_in_tests() -> set[Reason]:
    written = "\n".join(path.read_text() for path in TESTS.rglob("*.py") if path != HERE)
    names, codes = (
        set(re.findall(r"\bReason\.([A-Z0-9_]+)\b", written)),
        set(re.findall(r"\b[a-z_]+\.[a-z0-9_]+\b", written)),
    )
    return {reason for reason in Reason if reason.name in names or reason.code in codes}


def test_no_two_reasons_share_a_code() -> None:
    """Nor is one the alias of another, which an enumeration would allow in silence."""
    assert len({reason.code for reason in Reason.__members__.values()}) == len(Reason.__members__)


@pytest.mark.parametrize("reason", [*Reason], ids=lambda reason: reason.name)
def test_a_code_is_a_room_and_words(reason: Reason) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*\.[a-z0-9]+(_[a-z0-9]+)*", reason.code)


def test_a_status_is_one_that_a_refusal_can_have() -> None:
    assert {reason.status.value for reason in Reason if not 400 <= reason.status < 600} == {200}


def test_every_reason_is_decided_somewhere() -> None:
    assert [name for name, modules in reference.decided_in().items() if not modules] == []


def test_every_reason_is_asserted_somewhere() -> None:
    assert {*Reason} - named_in_tests() == UNTESTED.keys()


def test_every_reason_stands_in_a_section() -> None:
    assert [name for _, names in reference.sections() for name in names] == [*Reason.__members__]


def test_every_reason_has_a_meaning_and_every_meaning_a_reason() -> None:
    assert reference.meanings().keys() == {reason.code for reason in Reason}


@pytest.mark.parametrize(("code", "meaning"), reference.meanings().items(), ids=reference.meanings())
def test_a_meaning_is_what_happened_and_perhaps_what_to_do(code: str, meaning: str) -> None:
    """In full sentences, that stand in a cell of a table, and do not just repeat the code."""
    assert meaning.endswith(".")
    assert len(re.findall(r"\.(?= |$)", meaning)) <= 2
    assert not {*"\n|"} & {*meaning}
    assert len(meaning.split()) > 2 + len(code.replace("_", ".").split("."))


def test_no_two_reasons_mean_the_same() -> None:
    assert len({*reference.meanings().values()}) == len(reference.meanings())


def test_the_reference_is_up_to_date() -> None:
    assert reference.main(["--check"]) == 0, "run scripts/reference"


def test_every_code_is_in_the_reference() -> None:
    page = reference.TARGET.read_text()
    assert [reason.code for reason in Reason if f"`{reason.code}`" not in page] == []
