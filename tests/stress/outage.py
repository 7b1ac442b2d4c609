"""What the database sees before, during and after an outage of a minute: queries a second, and no thundering herd.

    PYTHONPATH=tests python -m stress.outage [--rows 20000] [--delay 10] [--outage 60] [--lease 30]

A dispatcher and a worker of two processes keep rows fresh while PostgreSQL is stopped and started again. Prints a line
for every two seconds: SELECTs that PostgreSQL ran (its own log), batches that could not be read (the worker's log),
rows committed, rows that are failing, and the age of the oldest value beyond its delay.
"""

import argparse
import os
import re
import signal
import time
from collections import Counter
from datetime import datetime
from itertools import pairwise

from stress.setup import open_deployment
from support.waiting import wait_until

STEP_S = 2
BEFORE_S, AFTER_S = 16, 60
LOG = ("-c", "log_statement=all", "-c", "log_line_prefix=%n ")
SELECT = re.compile(r"^(\d+\.\d+) LOG: .*: SELECT id, name, stock", re.MULTILINE)
FAILURE = re.compile(r"^\[(\S+ \S+): WARNING/.*\] \d+ rows of inv are tried again later", re.MULTILINE)


def sample(deployment):
    """Give the rows committed so far, those that are failing, and the oldest commit time of a row."""
    pipeline = deployment.client.pipeline()
    pipeline.hmget("stats:", "refreshed", "unchanged")
    pipeline.hlen("failures:")
    pipeline.zrange("refreshed:", 0, 0, withscores=True)
    counts, failing, first = pipeline.execute()
    return sum(int(count or 0) for count in counts), failing, first[0][1] if first else 0.0


def run(deployment, postgres, options):
    """Sample through the outage; returns the start, the end of the outage, and time -> sample."""
    started = time.time()
    stop_at, start_at = started + BEFORE_S, started + BEFORE_S + options.outage
    samples, is_up = {}, True
    while (now := time.time()) < start_at + AFTER_S:
        samples[now] = sample(deployment)
        if is_up and now >= stop_at and now < start_at:
            os.kill(postgres.pid, signal.SIGINT)
            is_up = False
        if not is_up and now >= start_at:
            postgres.start()
            is_up = True
        time.sleep(max(0.0, started + STEP_S * len(samples) - time.time()))
    return started, samples


def steps(times, started):
    """Count events for each step since the start."""
    return Counter(int((at - started) // STEP_S) for at in times)


def report(started, samples, selects, failures, options):
    print(f"{'second':>7} {'':10} {'SELECTs/s':>9} {'failed batches/s':>16} {'rows/s':>7} {'failing':>8} {'late':>7}")
    times = sorted(samples)
    for number, (before, after) in enumerate(pairwise(times)):
        committed = (samples[after][0] - samples[before][0]) / (after - before)
        late_s = max(0.0, after - samples[after][2] - options.delay)
        second = number * STEP_S - BEFORE_S
        state = "database" if second < 0 or second >= options.outage else ""
        rate = selects[number] / STEP_S
        print(
            f"{second:>7} {state:10} {rate:>9.1f} {failures[number] / STEP_S:>16.1f} {committed:>7.0f}"
            f" {samples[after][1]:>8} {late_s:>5.1f} s {'#' * round(rate)}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--delay", type=float, default=10, help="seconds between refreshes of a row")
    parser.add_argument("--outage", type=int, default=60, help="seconds")
    parser.add_argument("--lease", default="30")
    options = parser.parse_args()
    with open_deployment(options.rows, postgres_args=LOG) as (deployment, postgres):
        deployment.env["ROWCACHE_LEASE"] = options.lease
        deployment.start_beat()
        deployment.start_worker()
        share = options.delay / options.rows
        deployment.schedule.put_rows({str(n): (options.delay, n * share) for n in range(1, options.rows + 1)})
        wait_until(lambda: deployment.stat("refreshed") == options.rows, "all rows are cached", timeout_s=120)
        wait_until(lambda: sample(deployment)[0] > 3 * options.rows, "they are refreshed evenly", timeout_s=120)
        started, samples = run(deployment, postgres, options)
        selects = steps((float(at) for at in SELECT.findall(postgres.log.read_text(errors="replace"))), started)
        failed = (datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f") for at in FAILURE.findall(deployment.log("worker")))
        failures = steps((at.timestamp() for at in failed), started)
        report(started, samples, selects, failures, options)
        print({name: deployment.stat(name) for name in ("claimed", "refreshed", "unchanged", "superseded", "failed")})


if __name__ == "__main__":
    main()
