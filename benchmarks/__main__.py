"""Command line of the benchmarks."""

import argparse
import signal
import sys

from benchmarks import page, report
from benchmarks.options import Options
from benchmarks.progress import say
from benchmarks.results import Results
from benchmarks.run import CASES, ON_REQUEST, measure
from benchmarks.servers import ROOT


def main() -> int:
    """Measure and report; return 0 when each case gave a result."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that everything is stopped
    try:
        return run(parse_arguments())
    except page.PageError as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        return 1


def run(arguments: argparse.Namespace) -> int:
    """Measure the cases, and write results.json, report.md, the charts and the pages."""
    folder = ROOT / "bench-results" / ("quick" if arguments.quick else "")
    if arguments.docs:
        page.check(CASES)
    results = Results.read(folder / "results.json")
    names = [name for name in (*CASES, *ON_REQUEST) if name in (arguments.only or CASES)]
    failed = []
    if not arguments.report:
        failed = measure(names, Options(is_quick=arguments.quick), results, folder / "results.json")
    results = results.of(CASES)
    page.write_charts(results, folder)
    (folder / "report.md").write_text(report.whole(results, "."), encoding="utf-8")
    shown = str(folder.relative_to(ROOT))
    sys.stdout.write(report.whole(results.of([name for name in names if name not in failed]), shown))
    if arguments.docs:
        page.write(results)
    say(f"{shown} has results.json, report.md and the charts")
    if failed:
        sys.stderr.write(f"benchmarks: {len(failed)} of {len(names)} cases failed: {', '.join(failed)}\n")
    return 1 if failed else 0


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this package beside its alternatives, on real servers that are started for it.",
        epilog=f"Cases: {', '.join(CASES)}; on request: {', '.join(ON_REQUEST)}.",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds: see that it works, rough figures")
    parser.add_argument("--only", type=cases, metavar="CASE,…", help="measure only these; other results are kept")
    parser.add_argument("--docs", action="store_true", help="put tables and charts into the pages of the documentation")
    parser.add_argument("--report", action="store_true", help="measure nothing: report earlier results")
    return parser.parse_args()


def cases(text: str) -> list[str]:
    """Read names of cases."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in (*CASES, *ON_REQUEST):
            raise argparse.ArgumentTypeError(f"there is no case {name!r}, only {', '.join((*CASES, *ON_REQUEST))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
