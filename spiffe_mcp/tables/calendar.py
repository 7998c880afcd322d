"""What ends when: for each second a list of slots, over areas of a segment.

Enters: a slot, whose end stands in the segment. Leaves: the slots whose end has come. It knows no clock: the
segment's own `now` is all there is.

A second's list is also that of the seconds 4096 later. What ends further off than that is looked at once in a
while, and put off. Lists are linked both ways, so that a slot leaves its list without a search; a list's head
is a link after those of the slots, so that the first of a list is no other case.
"""

from collections.abc import Iterator

from spiffe_mcp.tables.segment import NOW, SECONDS, SWEPT, Segment, clear


class Calendar:
    """Which slots end in which second."""

    def __init__(self, segment: Segment) -> None:
        self._header = segment.header
        self._expires = segment.expires
        self._links = segment.due_links
        self._before = segment.due_before
        self._slots = segment.geometry.slots

    def enter(self, slot: int) -> None:
        """The slot ends when `expires` says."""
        # The list of the second that was swept last is the one that is swept again in 4096 seconds.
        second = min(self._expires[slot], self._header[SWEPT] + SECONDS)
        head = self._slots + second % SECONDS
        after = self._links[head]
        self._links[slot], self._before[slot] = after, head
        self._links[head] = slot
        if after:
            self._before[after] = slot

    def leave(self, slot: int) -> None:
        """Its end does not matter any more."""
        after, before = self._links[slot], self._before[slot]
        self._links[before] = after
        if after:
            self._before[after] = before

    def due(self, most: int) -> Iterator[int]:
        """Slots whose end has come, at most so many. Who takes one lets it leave before the next."""
        header = self._header
        header[SWEPT] = max(header[SWEPT], header[NOW] - min(header[NOW], SECONDS))
        while header[SWEPT] < header[NOW]:
            slot = self._links[self._slots + (header[SWEPT] + 1) % SECONDS]
            if not slot:
                header[SWEPT] += 1
                continue
            if not most:
                return
            most -= 1
            if self._expires[slot] <= header[NOW]:
                yield slot
            else:
                self.leave(slot)
                self.enter(slot)

    def clear(self) -> None:
        """Nothing ends any more."""
        clear(self._links)
        self._header[SWEPT] = self._header[NOW]
