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

    def drain(self) -> None:
        self.fate = "drained"


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


def test_a_drain_ends_the_idle_and_waits_for_those_that_have_an_answer_to_come() -> None:
    load, told = Load(Limits()), list[str]()
    idle, first, second = Connection(load), Connection(load), Connection(load)
    load.busy(first)
    load.busy(second)
    load.drain(lambda: told.append("quiet"))
    assert [each.fate for each in (idle, first, second)] == ["gave way", "drained", "drained"]
    load.closed(first)
    assert not told
    load.closed(second)
    assert told == ["quiet"]


def test_a_drain_waits_for_a_goodbye_that_has_not_left() -> None:
    load, told = Load(Limits()), list[str]()
    idle = Connection(load)
    idle.give_way = lambda: None  # type: ignore[method-assign]  # a client that takes its time
    load.drain(lambda: told.append("quiet"))
    assert not told
    load.closed(idle)
    assert told


def test_a_drain_with_nothing_to_wait_for_is_over_at_once() -> None:
    load, told = Load(Limits()), list[str]()
    load.drain(lambda: told.append("quiet"))
    assert told


def test_whoever_comes_during_a_drain_has_one_answer_and_is_not_waited_for_before() -> None:
    load, told = Load(Limits()), list[str]()
    running = Connection(load)
    load.busy(running)
    load.drain(lambda: told.append("quiet"))
    late = Connection(load)
    assert late.fate == "drained"
    load.closed(running)
    assert told
