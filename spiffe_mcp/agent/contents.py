"""What files hold, by digest: whether two readings saw the same, and what has changed between two."""

from collections.abc import Iterable, Mapping
from hashlib import file_digest
from pathlib import Path
from typing import TypeAlias

# By path; `sha256:<hex>`, or empty for a file that cannot be read.
Contents: TypeAlias = dict[str, str]


def contents_of(files: Iterable[Path | str]) -> Contents:
    """The digests of `files` as they are now."""
    return {str(file): _digest(Path(file)) for file in files}


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> Contents:
    """Those of `after` that were other before, or not there."""
    return {file: digest for file, digest in after.items() if before.get(file) != digest}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"sha256:{file_digest(file, 'sha256').hexdigest()}"
    except OSError:  # whoever reads it for what it says tells what is wrong
        return ""
