"""Progress of a long command: a bar on a terminal, else some lines."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import click

from rowcache_tasks.ops.cli.access import FailedError
from rowcache_tasks.text import show_count

LINE_S = 5.0
"""Time between two lines without a bar."""


class Progress:
    """Number of rows done so far."""

    def __init__(self, title: str, total: int | None, bar: Any) -> None:
        self.count = 0
        self._title = title
        self._total = total
        self._bar = bar
        self._shown_at = time.monotonic()

    def report(self, count: int) -> None:
        """Show the number of rows done so far."""
        if self._bar is not None:
            self._bar.update(count - self.count)
        elif time.monotonic() - self._shown_at >= LINE_S:
            self._shown_at = time.monotonic()
            of = "" if self._total is None else f" of about {self._total:,}"
            click.echo(f"{self._title}: {count:,}{of} rows", err=True)
        self.count = count


@contextmanager
def show_progress(title: str, total: int | None) -> Iterator[Progress]:
    """Show progress of work on about `total` rows; None: unknown. Ctrl-C raises FailedError with the rows done."""
    progress = Progress(title, total, None)
    try:
        if sys.stderr.isatty() and (total is None or total > 0):
            endless = repeat(None) if total is None else None  # the bar then moves to and fro
            with click.progressbar(endless, total, title, show_pos=True, file=sys.stderr, update_min_steps=1000) as bar:
                progress = Progress(title, total, bar)
                yield progress
        else:
            yield progress
    except KeyboardInterrupt:
        raise FailedError(
            f"{title}: interrupted after {show_count(progress.count, 'row')}, which stay done: "
            "the same command does the rest"
        ) from None
