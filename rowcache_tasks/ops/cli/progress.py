"""Own how a long command shows how far it is: a bar on a terminal, else a line from time to time, on stderr.

Ctrl-C ends it with one line that says how far it came.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import click

from rowcache_tasks.ops.cli.session import FailedError
from rowcache_tasks.text import show_count

__all__ = ["Progress", "show_progress"]

LINE_S = 5.0
"""Between two lines where there is no bar; a command that is faster prints none."""


class Progress:
    """What the work reports to."""

    def __init__(self, what: str, total: int | None, bar: Any) -> None:
        self.count = 0
        self._what = what
        self._total = total
        self._bar = bar
        self._shown_at = time.monotonic()

    def report(self, count: int) -> None:
        """Take the number of rows so far."""
        if self._bar is not None:
            self._bar.update(count - self.count)
        elif time.monotonic() - self._shown_at >= LINE_S:
            self._shown_at = time.monotonic()
            of = "" if self._total is None else f" of about {self._total:,}"
            click.echo(f"{self._what}: {count:,}{of} rows", err=True)
        self.count = count


@contextmanager
def show_progress(what: str, total: int | None) -> Iterator[Progress]:
    """Show progress while something works on about `total` rows; None: nobody knows. Ctrl-C raises FailedError."""
    progress = Progress(what, total, None)
    try:
        if sys.stderr.isatty() and (total is None or total > 0):
            endless = repeat(None) if total is None else None  # the bar then moves to and fro
            with click.progressbar(endless, total, what, show_pos=True, file=sys.stderr, update_min_steps=1000) as bar:
                progress = Progress(what, total, bar)
                yield progress
        else:
            yield progress
    except KeyboardInterrupt:
        raise FailedError(
            f"{what}: interrupted after {show_count(progress.count, 'row')}: what was done stays, "
            "and the same command does the rest"
        ) from None
