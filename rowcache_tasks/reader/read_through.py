"""Own how a reader may use the database: the options of read-through, validated. No I/O, no SQL."""

from dataclasses import dataclass, field

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.text import shorten

__all__ = ["ReadThrough"]

MAX_CONCURRENCY = 10
MAX_SECONDS = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadThrough:
    """How RowCache and AsyncRowCache read the database for rows that are not cached. Times are seconds.

    Raises ArgumentError for a value out of its range.
    """

    database_url: str | None = field(default=None, repr=False)
    """An SQLAlchemy URL; None: rowcache_database_url of the configuration."""
    timeout: float = 2.0
    """A database that does not answer for so long counts as down. Who reads a row for others and dies delays them by
    one and a half times this, once."""
    concurrency: int = 4
    """Statements that one process runs at a time, for all who read that database with the same options; up to 10."""
    ttl: float = 60.0
    """How long a row that is not scheduled stays cached after it was filled."""
    missing_ttl: float = 5.0
    """How long it is remembered that the database has no such row."""
    when_redis_is_down: bool = False
    """Whether rows, to be filled or not, come from the database while Redis cannot be read; else CacheError is raised.
    By age and exists it is in any case."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low in (("timeout", 0.01), ("ttl", 0.01), ("missing_ttl", 0.001)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= MAX_SECONDS:
                raise ArgumentError(
                    f"ReadThrough {name} is {shorten(value)}: allowed is a number of seconds from {low:g} to 86400"
                )
        number = self.concurrency
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_CONCURRENCY:
            raise ArgumentError(
                f"ReadThrough concurrency is {shorten(number)}: allowed is a whole number from 1 to {MAX_CONCURRENCY}"
            )
