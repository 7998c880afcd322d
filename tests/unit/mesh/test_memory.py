"""Each server has tables of its own, each with a name and a size."""

from spiffe_mcp.mesh.memory import Memory, local_tables
from spiffe_mcp.tables import LocalTable, Table


def test_every_table_has_a_name_of_its_own() -> None:
    asked: dict[str, tuple[int, int]] = {}

    def tables(name: str, capacity: int, value_bytes: int) -> Table:
        assert name not in asked
        asked[name] = (capacity, value_bytes)
        return LocalTable(capacity)

    for server in ("desk", "bank"):
        Memory.of("tools", server, tables)
    assert asked == {
        "tools desk replay": (400_000, 0),
        "tools desk sessions": (10_000, 17),
        "tools desk pending": (10_000, 0),
        "tools desk tasks": (50_000, 36),
        "tools desk events": (50_000, 64),
        "tools desk subscribed": (50_000, 0),
        "tools bank replay": (400_000, 0),
        "tools bank sessions": (10_000, 17),
        "tools bank pending": (10_000, 0),
        "tools bank tasks": (50_000, 36),
        "tools bank events": (50_000, 64),
        "tools bank subscribed": (50_000, 0),
    }


def test_without_anybody_to_share_them_with_they_are_this_process_s() -> None:
    assert local_tables("desk replay", 3, 0).free == 3
