"""The daemon of *Redis in Action*, section 2.4, with a modern client.

One row at a time, one process. It reads the first row of the schedule, and sleeps 50 ms when that is not due.
Otherwise it reads the delay, drops the row at zero or below, and reschedules, reads and writes it.
"""

import time

from benchmarks.programs.row import Rows

PAUSE_S = 0.05


def main() -> None:
    """Refresh due rows forever."""
    rows = Rows()
    client = rows.client
    print("ready", flush=True)
    while True:
        first = client.zrange("schedule:", 0, 0, withscores=True)
        now = time.time()
        if not first or first[0][1] > now:
            time.sleep(PAUSE_S)
            continue
        row_id = first[0][0].decode()
        delay = client.zscore("delay:", row_id)
        if delay is None or delay <= 0:
            client.zrem("delay:", row_id)
            client.zrem("schedule:", row_id)
            client.delete(f"inv:{row_id}")
            continue
        client.zadd("schedule:", {row_id: now + delay})
        rows.refresh(row_id)


if __name__ == "__main__":
    main()
