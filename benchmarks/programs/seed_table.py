"""What the task schedule_table does, in a process of its own: schedule every row of the table.

Prints {"rows", "seconds", "early_kib", "kib"} when it is done: the most memory that it had at a tenth and at the end.
"""

import json
import os
import resource
import time

from rowcache_tasks.config import Table
from rowcache_tasks.connection import connect
from rowcache_tasks.schedule import Schedule
from rowcache_tasks.seeding import seed_table
from rowcache_tasks.source import Source, create_source_engine

DELAY_S = 3600.0


def main() -> None:
    """Seed, print, and stay: processor time is counted while a process and its session at the database are there."""
    table = Table("inv", "inventory")
    schedule = Schedule(connect(os.environ["BENCH_REDIS_URL"], "seed"), table)
    engine = create_source_engine(os.environ["BENCH_DATABASE_URL"], statement_timeout_s=30.0)
    source = Source(engine, table)
    tenth = source.count_rows() // 10
    early = []

    def report(count: int) -> None:
        if not early and count >= tenth:
            early.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    print("ready", flush=True)
    started = time.monotonic()
    changed = seed_table(schedule, source, DELAY_S, f"{time.time():.6f}", report)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"rows": changed.applied, "seconds": seconds, "early_kib": early[0], "kib": peak}), flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
