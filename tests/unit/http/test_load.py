"""Who gives way where there are as many connections as there may be."""

from spiffe_mcp.http.load import Load
from spiffe_mcp.http.messages import Limits


class Connection:
    def __init__(self, load: Load) -> None:
        self.load = load
        self.fate = ""
        load.opened(self)

    def abort(self) -> None:
        self.fate = "aborted"
        self.load.closed(self)

    def give_way(self) -> None:
        self.fate = "gave way"
        self.load.closed(self)


def test_the_one_that_has_been_idle_longest_gives_way() -> None:
    load = Load(Limits(connections=2))
    first, second = Connection(load), Connection(load)
    load.busy(first)
    load.idle(first)  # it has been answered since
    third = Connection(load)
    assert [each.fate for each in (first, second, third)] == ["", "gave way", ""]


def test_whoever_works_stays() -> None:
    load = Load(Limits(connections=2))
    first, second = Connection(load), Connection(load)
    load.busy(first)
    load.busy(second)
    third = Connection(load)
    assert [each.fate for each in (first, second, third)] == ["", "", "aborted"]


def test_a_flood_of_those_who_say_nothing_takes_only_its_own() -> None:
    load = Load(Limits(connections=4))
    working = Connection(load)
    load.busy(working)
    flood = [Connection(load) for _ in range(1000)]
    assert working.fate == ""
    assert [each.fate for each in flood] == ["gave way"] * 997 + [""] * 3


def test_one_that_comes_after_the_end_is_ended() -> None:
    load = Load(Limits())
    first = Connection(load)
    load.close()
    assert (first.fate, Connection(load).fate) == ("aborted", "aborted")
