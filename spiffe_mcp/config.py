"""Reading configuration files strictly: YAML in, checked values out; complaints name file, line and key.

A `Section` is one mapping of the file. Whoever builds a component asks it for the keys that the component
knows; `Section.read` then refuses every key nobody asked for, and says which ones there are. What the keys
mean is the component's affair: this module knows YAML and nothing of the mesh.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, Self, TypeVar

import yaml

from spiffe_mcp.errors import Reason, Refused

T = TypeVar("T")

_MAX_BYTES: Final = 1024 * 1024
_MAX_DEPTH: Final = 32


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: file and line for the eye, key path for the mind."""

    file: str
    line: int
    key: str

    def refuse(self, what: str) -> NoReturn:
        raise Refused(Reason.CONFIG_INVALID, f"{self.file}:{self.line}: {self.key or 'top level'}: {what}")

    def at(self, node: yaml.Node, key: str) -> "_Place":
        return _Place(self.file, _line(node), f"{self.key}.{key}" if self.key else key)


def read_file(path: Path, build: Callable[["Section"], T]) -> T:
    """What `build` makes of the file at `path`; raises `Refused(CONFIG_INVALID)`."""
    start = _Place(path.name, 1, "")
    try:
        with path.open("rb") as file:
            document = file.read(_MAX_BYTES + 1)
    except OSError as error:
        start.refuse(error.strerror or "unreadable")
    if len(document) > _MAX_BYTES:
        start.refuse(f"larger than {_MAX_BYTES} bytes")
    try:
        node = _compose(document.decode("utf-8"), start)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        start.refuse(" ".join(str(error).split()))
    return _read(Section.of(node, start, path.parent), build)


def _compose(text: str, start: _Place) -> yaml.Node | None:
    """YAML without its indirections: what stands in one place means what it says there."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        place = _Place(start.file, _line(event), "")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            place.refuse("aliases and tags are not read")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:  # what follows would be composed by recursion
            place.refuse("nested too deeply")
    return yaml.compose(text, Loader=yaml.SafeLoader)


class Section:
    """One mapping of a configuration file. Each key is asked for by the component that knows it."""

    def __init__(self, place: _Place, members: dict[str, yaml.Node], folder: Path) -> None:
        self._place = place
        self._members = members
        self._folder = folder
        self._known: list[str] = []

    @classmethod
    def of(cls, node: yaml.Node | None, place: _Place, folder: Path) -> Self:
        """The mapping that `node` is, its keys unique."""
        if not isinstance(node, yaml.MappingNode):
            place.refuse("expected a mapping (key: value)")
        members: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                place.at(key, "?").refuse("expected a plain key")
            if key.value in members:
                place.at(key, key.value).refuse("stands here twice")
            members[key.value] = value
        return cls(place, members, folder)

    # -- scalars --------------------------------------------------------------------------------------------

    def text(self, key: str, default: str | None = None) -> str:
        """A string that is not empty."""
        return self.value(key, str, "a text", default)

    def value(self, key: str, parse: Callable[[str], T], expected: str, default: T | None = None) -> T:
        """A scalar as `parse` reads it. `parse` raises ValueError or `Refused` for what is not `expected`."""
        node = self._find(key)
        if node is None:
            if default is None:
                self._place.refuse(f"'{key}' is missing; expected {expected}")
            return default
        return self._scalar(self._place.at(node, key), node, parse, expected)

    def optional_value(self, key: str, parse: Callable[[str], T], expected: str) -> T | None:
        """As `value`; None if the key is not there."""
        node = self._find(key)
        return None if node is None else self._scalar(self._place.at(node, key), node, parse, expected)

    def values(self, key: str, parse: Callable[[str], T], expected: str) -> tuple[T, ...]:
        """A list of scalars; empty if the key is not there."""
        return tuple(
            self._scalar(self._place.at(item, f"{key}[{index}]"), item, parse, expected)
            for index, item in enumerate(self._sequence(key))
        )

    def value_or_values(self, key: str, parse: Callable[[str], T], expected: str) -> tuple[T, ...]:
        """As `values`, of which one may stand alone without a list; at least one."""
        if isinstance(self._find(key), yaml.SequenceNode):
            found = self.values(key, parse, expected)
            if found:
                return found
            self._place.refuse(f"'{key}' is empty; expected {expected}")
        return (self.value(key, parse, expected),)

    def pairs(self, parse: Callable[[str], T], expected: str) -> tuple[tuple[str, T], ...]:
        """Every key that nobody has asked for yet, with its scalar: where keys are the writer's own."""
        names = [name for name in self._members if name not in self._known]
        return tuple((name, self.value(name, parse, expected)) for name in names)

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """A whole number of at least `least`."""

        def parse(text: str) -> int:
            if not (text.isascii() and text.isdigit()) or int(text) < least:
                raise ValueError
            return int(text)

        return self.value(key, parse, f"a whole number of at least {least}", default)

    def path(self, key: str) -> Path:
        """A path; a relative one starts at the file's own folder."""
        return self.value(key, lambda text: self._folder / text, "a path")

    def optional_path(self, key: str) -> Path | None:
        """As `path`; None if the key is not there."""
        return self.optional_value(key, lambda text: self._folder / text, "a path")

    def paths(self, key: str) -> tuple[Path, ...]:
        """A list of paths."""
        return self.values(key, lambda text: self._folder / text, "a path")

    # -- sections inside ------------------------------------------------------------------------------------

    def section(self, key: str, build: Callable[["Section"], T]) -> T:
        """What `build` makes of the mapping under `key`."""
        node = self._find(key)
        if node is None:
            self._place.refuse(f"'{key}' is missing; expected a mapping")
        return _read(Section.of(node, self._place.at(node, key), self._folder), build)

    def optional(self, key: str, build: Callable[["Section"], T]) -> T | None:
        """As `section`; None if the key is not there."""
        return self.section(key, build) if self._find(key) is not None else None

    def sections(self, key: str, build: Callable[["Section"], T]) -> tuple[T, ...]:
        """What `build` makes of each mapping in the list under `key`."""
        return tuple(
            _read(Section.of(item, self._place.at(item, f"{key}[{index}]"), self._folder), build)
            for index, item in enumerate(self._sequence(key))
        )

    def one_or_more(self, key: str, build: Callable[["Section"], T]) -> tuple[T, ...]:
        """As `sections`, of which one may stand alone without a list; empty if the key is not there."""
        if isinstance(self._find(key), yaml.MappingNode):
            return (self.section(key, build),)
        return self.sections(key, build)

    def is_mapping(self, key: str) -> bool:
        """Whether a mapping stands under `key`: for what can be said in a word, or at length."""
        return isinstance(self._members.get(key), yaml.MappingNode)

    def refuse(self, what: str) -> NoReturn:
        """Refuse the section as a whole, for a rule between its keys."""
        self._place.refuse(what)

    # -- inside ---------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Refuse the first key that nobody asked for."""
        for key, node in self._members.items():
            if key not in self._known:
                known = ", ".join(dict.fromkeys(self._known))
                self._place.at(node, key).refuse(f"unknown key; expected one of: {known}")

    def _find(self, key: str) -> yaml.Node | None:
        self._known.append(key)
        return self._members.get(key)

    def _sequence(self, key: str) -> list[yaml.Node]:
        node = self._find(key)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self._place.at(node, key).refuse("expected a list")
        return list(node.value)

    @staticmethod
    def _scalar(place: _Place, node: yaml.Node, parse: Callable[[str], T], expected: str) -> T:
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            place.refuse(f"expected {expected}")
        try:
            return parse(node.value)
        except (ValueError, Refused):
            place.refuse(f"expected {expected}, found {node.value[:80]!r}")


def _line(what: yaml.Node | yaml.Event) -> int:
    return what.start_mark.line + 1 if what.start_mark else 1


def _read(section: Section, build: Callable[[Section], T]) -> T:
    built = build(section)
    section.finish()
    return built
