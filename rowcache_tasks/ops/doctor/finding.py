"""Own what a check of the doctor says: one sentence and how bad it is."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "fail", "ok", "warn"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    level: Literal["ok", "warn", "fail"]
    text: str
    """What was found and, unless it is ok, what to do."""


def ok(text: str) -> Finding:
    """Say that something is as it should be."""
    return Finding("ok", text)


def warn(text: str) -> Finding:
    """Say that something works but may hurt."""
    return Finding("warn", text)


def fail(text: str) -> Finding:
    """Say that something is broken."""
    return Finding("fail", text)
