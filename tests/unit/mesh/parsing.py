"""Whether a text is what it should be."""

from collections.abc import Callable


def can_be(parse: Callable[[str], object], text: str) -> bool:
    """Whether `text` is one; ValueError says that it is not."""
    try:
        parse(text)
    except ValueError:
        return False
    return True
