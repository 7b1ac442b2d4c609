"""Own the line between what a read does and the I/O that it does it with, sync or asyncio."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from rowcache_tasks.reader.fill.single_flight import Flight

__all__ = ["Found", "Port", "Step", "Steps", "Wanted"]

R = TypeVar("R")

Found = tuple[bytes | None, float | None]
"""A value (None: there is none; a note of fill.py: why it cannot be read) and its age in seconds, None when unknown."""


class Port(Protocol):
    """The I/O of a read: each method returns what it says, or an awaitable of it."""

    @property
    def client(self) -> Any:
        """redis.Redis or redis.asyncio.Redis."""

    def prepare(self) -> Any:
        """Load what `fetch` needs, which takes a while the first time. What is wrong with it, `fetch` says."""

    def fetch(self, row_ids: Sequence[str]) -> Any:
        """Read rows of the database: row id -> JSON or note. Raises FillError."""

    def keep(self, keys: Sequence[bytes]) -> Any:
        """Read values through the near cache, which keeps them: in the order asked, b"" for none; None: ask Redis."""

    def wait(self, flight: Flight[Any] | None, seconds: float) -> Any:
        """Wait until a flight has ended, but not for longer; None: for so long."""


Step = Callable[[Port], Any]

Steps = Generator[Step, Any, R]
"""A read, step by step: yields functions of the port, is sent what they return, awaited; returns what was read."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a row is asked for. Times are seconds."""

    max_age: float | None = None
    is_filled: bool = False
    delay: float | None = None
    """With which a row that is filled is scheduled; None: it is not."""
