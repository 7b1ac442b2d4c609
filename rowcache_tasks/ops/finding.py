"""Result of one check: its level and one sentence."""

from functools import partial
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One line of a report."""

    level: Literal["ok", "warn", "fail"]
    text: str  # what was found and, unless it is ok, the remedy


ok = partial(Finding, "ok")
warn = partial(Finding, "warn")
fail = partial(Finding, "fail")
