"""The areas of a segment do not overlap, and two who have its descriptor see the same."""

import os
from contextlib import closing

import pytest

from spiffe_mcp.tables.segment import SECONDS, Geometry, Segment, clear


@pytest.mark.parametrize("value_bytes", [0, 7, 64])
@pytest.mark.parametrize("capacity", [0, 1, 100])
def test_the_areas_fill_the_segment(capacity: int, value_bytes: int) -> None:
    with closing(Segment.create(Geometry(capacity, value_bytes), salt=1)) as segment:
        assert os.fstat(segment.file).st_size == segment.geometry.size == segment._end
        assert segment.values + (capacity + 1) * value_bytes == segment._end
        assert len(segment.due_links) == capacity + 1 + SECONDS


def test_what_one_writes_the_other_reads() -> None:
    with closing(Segment.create(Geometry(10, 8), salt=1)) as one:
        other = Segment.of(one.file)
        assert other.geometry == one.geometry
        one.expires[10], one.held[3] = 1 << 40, 17
        assert (other.expires[10], other.held[3]) == (1 << 40, 17)


def test_an_area_is_cleared_and_its_neighbours_are_not() -> None:
    with closing(Segment.create(Geometry(10, 8), salt=1)) as segment:
        areas = [segment.fact_links, segment.holder_links, segment.held]
        for area in areas:
            area[0] = area[len(area) - 1] = 5
        clear(segment.holder_links)
        assert [(area[0], area[len(area) - 1]) for area in areas] == [(5, 5), (0, 0), (5, 5)]
