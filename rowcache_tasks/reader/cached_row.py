"""Own a row together with how old it is."""

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["CachedRow"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CachedRow(Generic[T]):
    """A row as it was cached."""

    row: T
    age: float | None
    """Seconds since the value was last known to be what the database holds, by the server's clock; None: not known."""
    is_stale: bool
    """Whether it is older than the max_age that was asked for, or its age is not known; without a max_age, never."""
