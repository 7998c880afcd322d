"""A body as it arrives: pieces in, the whole out, in no more memory than its bytes."""


class Body:
    """What has come of a body. A first piece is kept as it is: most bodies have no other."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: bytes | bytearray = b""

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, piece: bytes) -> None:
        """One more piece. Into one buffer: as a list, chunks of two bytes take twenty times their size."""
        if not self._kept:
            self._kept = piece
            return
        if isinstance(self._kept, bytes):
            self._kept = bytearray(self._kept)
        self._kept += piece

    def whole(self) -> bytes:
        """All of it."""
        return bytes(self._kept)
