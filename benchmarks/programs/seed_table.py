"""What the task schedule_table does, in a process of its own: schedule every row of the table.

Prints {"rows", "seconds", "tenths_s", "early_kib", "kib"} when it is done: the seconds of each tenth of the rows, the
most memory that it had at the first and at the end.
"""

import json
import os
import resource
import time
from itertools import pairwise

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.source import Source, create_source_engine
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.worker.seed import seed_table

DELAY_S = 3600.0


def main() -> None:
    """Seed, print, and stay: processor time is counted while a process and its session at the database are there."""
    table = Table("inv", "inventory")
    schedule = Schedule(connect(os.environ["BENCH_REDIS_URL"], "seed"), table)
    engine = create_source_engine(os.environ["BENCH_DATABASE_URL"], statement_timeout_s=30.0)
    source = Source(engine, table)
    tenth = source.count_rows() // 10
    times: list[float] = []
    early: list[int] = []

    def report(count: int) -> None:
        if count >= tenth * len(times) and len(times) <= 10:
            times.append(time.monotonic())
            early.append(memory_kib())

    print("ready", flush=True)
    report(0)
    changed = seed_table(schedule, source, DELAY_S, f"{time.time():.6f}", report)
    found = {
        "rows": changed.applied,
        "seconds": time.monotonic() - times[0],
        "tenths_s": [end - start for start, end in pairwise(times)],
        "early_kib": early[1],
        "kib": memory_kib(),
    }
    print(json.dumps(found), flush=True)
    time.sleep(600)


def memory_kib() -> int:
    """Read the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
