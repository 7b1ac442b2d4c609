"""Own the command line of the demo, its exit status and what a signal does."""

import argparse
import signal
import sys

from rowcache_tasks.errors import RowCacheError

try:
    from rich.console import Console

    from rowcache_tasks.demo.account import COUNT
    from rowcache_tasks.demo.comparison import Comparison
    from rowcache_tasks.demo.deployment import Deployment
    from rowcache_tasks.demo.run import play
    from rowcache_tasks.demo.view import view_for
except ModuleNotFoundError as missing:
    sys.exit(f"demo: the package {missing.name} is not installed: pip install 'rowcache-tasks[demo]'")
except RowCacheError as error:
    sys.exit(f"demo: {error}")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHOWN = 5


def main() -> int:
    """Run the demo; return 0 only if the cache held every row of the database exactly."""
    arguments = parse_arguments()
    for number in SIGNALS:
        signal.signal(number, leave)
    is_terminal = sys.stdout.isatty()
    console = Console(force_terminal=is_terminal, no_color=not is_terminal, highlight=False, markup=False, emoji=False)
    view = view_for(console)
    try:
        with Deployment() as deployment:
            try:
                with view:
                    comparison = play(deployment, view, arguments.seconds, arguments.rate)
            finally:
                view.say("stopping everything")
    except RowCacheError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    return report(console, comparison)


def report(console: Console, comparison: Comparison) -> int:
    """Print what came out, the verdict last; return the exit status."""
    differing = comparison.differing
    for row_id in sorted(differing)[:SHOWN]:
        console.print(f"row {row_id}: {differing[row_id]}", soft_wrap=True)
    is_good = not differing and comparison.compared == COUNT
    verdict = f"{comparison.compared:,} rows compared, {len(differing):,} differ"
    console.print(verdict, style="bold green" if is_good else "bold red", soft_wrap=True)
    return 0 if is_good else 1


def leave(number: int, _: object) -> None:
    """End the program by an exception, so that everything is stopped; further signals do not disturb that."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rowcache_tasks.demo",
        description="Cache all accounts of pgbench while pgbench changes them, then compare every row.",
    )
    parser.add_argument("--seconds", type=positive, default=60, help="how long pgbench changes rows (default: 60)")
    parser.add_argument("--rate", type=positive, default=200, help="transactions of pgbench in a second (default: 200)")
    return parser.parse_args()


def positive(text: str) -> int:
    """Read a whole number above zero."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
