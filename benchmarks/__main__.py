"""Own the command line of the benchmarks, its exit status and what a signal does."""

import argparse
import signal
import sys

try:
    from benchmarks import output, targets
    from benchmarks.options import Options
    from benchmarks.page import PageError
    from benchmarks.progress import progress
    from benchmarks.results import Results, ResultsError
    from benchmarks.run import CASES, measure
except ModuleNotFoundError as missing:
    sys.exit(f"benchmarks: there is no module {missing.name}: start with `make bench`, which installs what is needed")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Measure and report; return 0 only if every case gave a result."""
    arguments = parse_arguments()
    for number in SIGNALS:
        signal.signal(number, leave)
    try:
        return run(arguments)
    except (ResultsError, PageError) as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        return 1


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for."""
    folder = output.folder(arguments.quick)
    results = Results.read(folder / "results.json")
    if arguments.docs:
        output.check_pages()
    wanted = [name for name in CASES if name in (arguments.only or CASES)]
    if arguments.report and not results.of(wanted).results:
        raise ResultsError(
            f"{output.shown(folder)} has no results of {', '.join(wanted)}: measure first, without --report"
        )
    names = [] if arguments.report else wanted
    failed = measure(names, Options(is_quick=arguments.quick), results, folder / "results.json")
    sys.stdout.write(output.write(results, [name for name in wanted if name not in failed], folder))
    if arguments.docs:
        output.write_pages(results)
    for what in targets.lost(results.of(wanted)):
        progress.say(f"no figure was found for the target {what!r}: see benchmarks/targets.py")
    progress.say(f"{output.shown(folder)} has results.json, report.md and the charts")
    if failed:
        sys.stderr.write(f"benchmarks: {len(failed)} of {len(names)} cases failed: {', '.join(failed)}\n")
    return 1 if failed else 0


def leave(number: int, _: object) -> None:
    """End the program by an exception, so that everything is stopped; further signals do not disturb that."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this package beside the alternatives, on real servers that are started for it.",
        epilog=f"Cases: {', '.join(CASES)}. All take half an hour, three minutes with --quick.",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds: see that it works, rough figures")
    parser.add_argument("--only", type=cases, metavar="CASE,…", help="measure only these; other results are kept")
    parser.add_argument("--docs", action="store_true", help="put tables and charts into the pages of the documentation")
    parser.add_argument("--report", action="store_true", help="measure nothing: report what was measured before")
    return parser.parse_args()


def cases(text: str) -> list[str]:
    """Read names of cases."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in CASES:
            raise argparse.ArgumentTypeError(f"there is no case {name!r}, only {', '.join(CASES)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
