"""Command line of the chaos run; exit status 0 if every guarantee held, else 1."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from proof.chaos.deployment import ChaosDeployment
from proof.chaos.run import Run
from support.project import ROOT

SLACK = "seconds allowed beyond one lease until all rows are fresh: delays, starts of processes, time-outs"


def parse_options():
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="duration; each fault is injected at least once")
    parser.add_argument("--seed", type=int, default=1, help="seed of the order and the details of the faults")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--lease", type=float, default=5.0, help="seconds")
    parser.add_argument("--max-delay", type=float, default=5.0, help="longest delay of a row, seconds")
    parser.add_argument("--slack", type=float, default=10.0, help=SLACK)
    parser.add_argument("--slow", type=float, default=0.15, help="seconds to read a slow row")
    parser.add_argument("--only", action="append", help="only faults whose name contains this; may be repeated")
    parser.add_argument("--logs", type=Path, help="a directory for the logs of all processes, kept")
    return parser.parse_args()


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main():
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.chdir(ROOT)  # where celeryconfig.py is
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as temporary:
        folder = (options.logs or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(ChaosDeployment(ROOT, folder, options.lease), options, say)
        try:
            run.start()
            run.inject()
            run.finish()
        finally:
            run.stop()
    report = run.report
    say("\n".join(["", report.table(), "", run.summary, "", report.markdown()]))
    sys.exit(0 if report.is_good else 1)


if __name__ == "__main__":
    main()
