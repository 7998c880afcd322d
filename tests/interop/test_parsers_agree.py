"""What this parser accepts, the parsers of servers and clients read the same, or refuse themselves.

The parsers are asked, each time: Python's, jiter, orjson, and, where they are installed, JavaScript's and
Go's. Numbers are compared as doubles. An integer beyond 2^53 is the one thing that readers of doubles round:
it passes to its last digit, and a policy that looks at it is refused (`policy.input_number`).
"""

from collections.abc import Sequence
from typing import Final

import pytest

from spiffe_mcp.errors import Reason, Refused
from spiffe_mcp.mcp import Request, parse
from spiffe_mcp.policy.conversion import check
from spiffe_mcp.strict_json import JsonValue, loads
from tests.fakes.json_corpus import CASES, VALUES, made
from tests.fakes.json_readers import READERS, REFUSED, Reader, Reading, normal, reading_of

DOCUMENTS: Final = [*CASES.values(), *map(made, range(6000))]
readers = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
pytestmark = pytest.mark.timeout(400)  # the first to need Go waits for its build


def read(reader: Reader, documents: Sequence[bytes]) -> list[Reading]:
    if reader.missing is not None:
        pytest.skip(reader.missing)
    return reader.read(documents)


def value_of(document: bytes) -> str:
    """What is read here; `!` if it is refused."""
    try:
        return normal(loads(document))
    except Refused:
        return REFUSED


def call_of(document: bytes) -> Reading:
    """What call is read here."""
    try:
        message = parse(document)
    except Refused:
        return Reading(REFUSED)
    if not isinstance(message, Request):
        return Reading(REFUSED)
    return reading_of({"method": message.method, "params": message.params or {}})


@readers
def test_a_value_that_is_accepted_is_read_the_same_or_refused(reader: Reader) -> None:
    readings = read(reader, DOCUMENTS)
    differ = [
        document
        for document, theirs in zip(DOCUMENTS, readings, strict=True)
        if (mine := value_of(document)) != REFUSED and theirs.value not in {REFUSED, mine}
    ]
    assert differ == []


@readers
def test_a_call_that_is_accepted_is_read_as_the_same_call_or_refused(reader: Reader) -> None:
    """Go's reads it into a struct, as a server declares it, and so takes `Name` for `name`."""
    readings = read(reader, DOCUMENTS)
    accepted = 0
    for document, theirs in zip(DOCUMENTS, readings, strict=True):
        mine = call_of(document)
        if REFUSED not in (mine.value, theirs.method):
            accepted += 1
            assert theirs[1:] == mine[1:], document
    assert accepted > 300


@readers
def test_a_parser_takes_some_of_what_is_refused(reader: Reader) -> None:
    """The corpus is not about nothing: this one would have executed it."""
    readings = read(reader, DOCUMENTS)
    pairs = zip(DOCUMENTS, readings, strict=True)
    taken = [
        document
        for document, theirs in pairs
        if theirs.method != REFUSED and call_of(document).value == REFUSED
    ]
    assert len(taken) > 30


def test_where_two_parsers_read_two_values_it_is_refused() -> None:
    """Computed, not listed: what is odd about a document is what they say of it."""
    asked = [reader for reader in READERS if reader.missing is None]
    readings = zip(*(reader.read(DOCUMENTS) for reader in asked), strict=True)
    split = [
        document
        for document, row in zip(DOCUMENTS, readings, strict=True)
        if len({reading[1:] for reading in row if reading.method != REFUSED}) > 1
    ]
    assert len(split) > 30
    assert [document for document in split if call_of(document).value != REFUSED] == []


BEYOND: Final = ("2^53 + 1", "2^63", "2^64", "an integer of 23 digits", "an integer of 308 digits")


@pytest.mark.parametrize("name", BEYOND)
def test_an_integer_that_readers_of_doubles_round_keeps_its_digits_and_decides_nothing(name: str) -> None:
    value: JsonValue = loads(VALUES[name])
    assert str(value).encode() == VALUES[name]
    with pytest.raises(Refused) as refused:
        check({"arguments": {"amount": value}})
    assert refused.value.reason is Reason.POLICY_INPUT_NUMBER
