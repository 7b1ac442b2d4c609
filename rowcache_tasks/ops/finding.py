"""Result of one check: its level and one sentence."""

from functools import partial
from typing import Literal, NamedTuple

from rowcache_tasks.errors.text import one_line


class Finding(NamedTuple):
    """One line of a report."""

    level: Literal["ok", "warn", "fail"]
    text: str  # what was found and, unless it is ok, the remedy

    def as_json(self) -> dict[str, str]:
        """Return level and text, on one line."""
        return {"level": self.level, "text": one_line(self.text)}


ok = partial(Finding, "ok")
warn = partial(Finding, "warn")
fail = partial(Finding, "fail")
