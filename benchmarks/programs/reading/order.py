"""Own what a reading program is told on its standard input, and what it answers: one JSON object a line each."""

import json
from dataclasses import asdict, dataclass
from typing import Self

ROWS = 1000
"""The rows 1 to ROWS are read, in this order, again and again, by everyone."""


TIMEOUT_S = 30.0
"""Of every read: nobody gives up because a busy machine stands still. It costs the same as a shorter one."""


@dataclass(frozen=True)
class Order:
    """Read in one of the program's ways."""

    way: str
    calls: int
    """How many calls, over all threads or tasks."""
    rows: int = 1
    """Row ids a call; a call for one gets a text, one for more a list."""
    at_once: int = 1
    """Threads, or asyncio tasks, that make the calls."""

    def as_line(self) -> str:
        """Write it."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of(cls, line: str) -> Self:
        """Read it."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class Answer:
    """What an order took; seconds."""

    seconds: float
    processor_s: float
    """Of the reading process alone."""

    def as_line(self) -> str:
        """Write it."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of(cls, line: str) -> Self:
        """Read it."""
        return cls(**json.loads(line))
