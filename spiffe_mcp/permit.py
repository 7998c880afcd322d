"""Values that only a decision can make.

A class with this metaclass has no public constructor: calling it raises, `dataclasses.replace` too. The
decision that makes one says `Permit.granted(...)` beside the steps that justify it. It guards against
mistakes, not against hostile code in the same process.
"""

from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class GrantedOnly(type):
    """Metaclass of values that are granted, never constructed."""

    def __call__(cls, *_: object, **__: object) -> NoReturn:
        """Refuse: there is no public constructor."""
        raise TypeError(f"{cls.__name__} is granted by a decision, never constructed")

    def granted(cls: type[T], **fields: Any) -> T:  # noqa: ANN401  the fields are the class's own
        """The value; for the module that decides."""
        value: T = type.__call__(cls, **fields)
        return value
