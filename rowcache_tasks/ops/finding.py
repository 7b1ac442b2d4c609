"""Result of one check: its level and one sentence."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    level: Literal["ok", "warn", "fail"]
    text: str
    """What was found and, unless it is ok, the remedy."""


def ok(text: str) -> Finding:
    """Return a finding without a fault."""
    return Finding("ok", text)


def warn(text: str) -> Finding:
    """Return a finding that may become a fault."""
    return Finding("warn", text)


def fail(text: str) -> Finding:
    """Return a fault."""
    return Finding("fail", text)
