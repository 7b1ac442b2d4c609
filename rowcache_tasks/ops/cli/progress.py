"""Progress of a command: a bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat

import click

from rowcache_tasks.errors.text import show_count
from rowcache_tasks.ops.cli.access import FailedError

LINE_S = 5.0
"""Time between two lines without a bar."""


@contextmanager
def show_progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows the number of rows done so far: in a bar on a terminal, else in some lines.

    `total`: about so many rows; None: unknown. Ctrl-C raises FailedError with the rows done.
    """
    count, shown_at, bar = 0, time.monotonic(), None

    def report(done: int) -> None:
        nonlocal count, shown_at
        if bar is not None:
            bar.update(done - count)
        elif time.monotonic() - shown_at >= LINE_S:
            shown_at = time.monotonic()
            click.echo(f"{title}: {done:,}{'' if total is None else f' of about {total:,}'} rows", err=True)
        count = done

    try:
        if sys.stderr.isatty() and total != 0:
            endless = repeat(None) if total is None else None  # the bar then moves to and fro
            with click.progressbar(endless, total, title, show_pos=True, file=sys.stderr, update_min_steps=1000) as bar:
                yield report
        else:
            yield report
    except KeyboardInterrupt:
        raise FailedError(
            f"{title}: interrupted after {show_count(count, 'row')}, which stay done: the same command does the rest"
        ) from None
