"""Command that runs all interleavings: `python -m proof.interleaving`.

Uses every processor. Exit status 1 when a program fails.
"""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from demo.servers import Valkey

from .client import DirectClient
from .divided_program import LARGE_DIVIDED, SMALL_DIVIDED
from .divided_world import open_world
from .explorer import CounterexampleError, Explorer
from .program import LARGE, SMALL

PROGRAMS = SMALL | LARGE | SMALL_DIVIDED | LARGE_DIVIDED


def explore(name):
    """Run the interleavings of a program; return name, explorer and failure."""
    before, program = PROGRAMS[name]
    with Valkey() as valkey, DirectClient.of(valkey.url_for(0)) as client:
        explorer = Explorer(open_world(name, client), program)
        try:
            explorer.run(before)
        except CounterexampleError as error:
            return name, explorer, str(error)
        finally:
            explorer.world = None
        return name, explorer, ""


def size(name):
    return sum(map(len, PROGRAMS[name][1].values()))


def main():
    started = time.monotonic()
    totals = dict.fromkeys(PROGRAMS, (0, 0))
    failures = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(explore, name) for name in sorted(PROGRAMS, key=size, reverse=True)]
        for done, job in enumerate(as_completed(jobs), 1):
            name, explorer, failure = job.result()
            print(
                f"{done} of {len(jobs)} programs, {time.monotonic() - started:.0f} s",
                end="\r",
                file=sys.stderr,
                flush=True,
            )
            interleavings, steps = totals[name]
            totals[name] = interleavings + explorer.interleavings, steps + explorer.steps
            if failure:
                failures.append(failure)
                print(f"FAILED {name}: {failure}", flush=True)
    for name, (interleavings, steps) in totals.items():
        print(f"{interleavings:>9,} interleavings {steps:>9,} steps  {name}")
    interleavings, steps = (sum(column) for column in zip(*totals.values(), strict=True))
    took_s = time.monotonic() - started
    print(f"{interleavings:>9,} interleavings {steps:>9,} steps in {took_s:.0f} s: {len(failures)} counterexamples")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
