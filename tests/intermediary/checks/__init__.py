"""All checks, in the order of the checklist."""

from tests.intermediary.check import CHECKS
from tests.intermediary.checks import (
    calls,
    edge,
    eras,
    lists,
    parsing,
    questions,
    sessions,
    streams,
    subscriptions,
    tasks,
    values,
)

__all__ = [
    "CHECKS",
    "calls",
    "edge",
    "eras",
    "lists",
    "parsing",
    "questions",
    "sessions",
    "streams",
    "subscriptions",
    "tasks",
    "values",
]

CHECKS.sort(key=lambda check: check.number)
