"""Command line of the demo: arguments, signals, exit status."""

import signal
import sys

from rowcache_tasks.errors import RowCacheError

try:
    import click
    from rich.console import Console

    from demo.accounts import COUNT
    from demo.comparison import Comparison
    from demo.processes import Processes
    from demo.run import run_demo
    from demo.view import View
except ModuleNotFoundError as missing:
    sys.exit(f"demo: the package {missing.name} is not installed: pip install 'rowcache-tasks[demo]'")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHOWN = 5


@click.command()
@click.option("--seconds", type=click.IntRange(min=1), default=60, show_default=True, help="Time of pgbench.")
@click.option("--rate", type=click.IntRange(min=1), default=200, show_default=True, help="Transactions a second.")
def main(seconds: int, rate: int) -> None:
    """Cache all accounts of pgbench while pgbench changes them, then compare every row.

    Exit status 0 only if the cache holds every row of the database exactly.
    """
    for number in SIGNALS:
        signal.signal(number, leave)
    is_terminal = sys.stdout.isatty()
    console = Console(force_terminal=is_terminal, no_color=not is_terminal, highlight=False, markup=False, emoji=False)
    view = View(console)
    try:
        with Processes() as processes:
            try:
                comparison = run_demo(processes, view, seconds, rate)
            finally:
                view.stop()
                view.say("stopping everything")
    except RowCacheError as error:
        sys.exit(f"demo: {error}")
    sys.exit(report(console, comparison))


def report(console: Console, comparison: Comparison) -> int:
    """Print the differences and the verdict; return the exit status."""
    differing = comparison.differing
    for row_id in sorted(differing)[:SHOWN]:
        console.print(f"row {row_id}: {differing[row_id]}", soft_wrap=True)
    is_good = not differing and comparison.compared == COUNT
    verdict = f"{comparison.compared:,} rows compared, {len(differing):,} differ"
    console.print(verdict, style="bold green" if is_good else "bold red", soft_wrap=True)
    return 0 if is_good else 1


def leave(number: int, _: object) -> None:
    """Exit by an exception, so that all processes are stopped; ignore further signals."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
