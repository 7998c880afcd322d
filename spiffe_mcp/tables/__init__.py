"""Bounded memories of small facts: what one exchange has to remember for the next.

A table is this process's alone (`LocalTable`), or shared by several processes (`SharedTable`). Whoever
remembers something is handed a table and does not know which of the two it is.
"""

from spiffe_mcp.tables.local import LocalTable
from spiffe_mcp.tables.shared import SharedTable
from spiffe_mcp.tables.table import KEY_BYTES, MAX_VALUE_BYTES, Added, Table, digest

__all__ = ["KEY_BYTES", "MAX_VALUE_BYTES", "Added", "LocalTable", "SharedTable", "Table", "digest"]
