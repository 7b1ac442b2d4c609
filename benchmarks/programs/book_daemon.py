"""The daemon of "Redis in Action", section 2.4: one row at a time, one process, for ever.

Its algorithm with a modern client: look at the first row of the schedule; when it is not due, sleep 50 ms; ask for its
delay; drop it at zero or below; read it, schedule it anew, write it. It may begin up to 50 ms late: a hundredth or
two of a round of some seconds.
"""

import time

from benchmarks.programs.row import Rows

PAUSE_S = 0.05


def main(rows: Rows) -> None:
    """Refresh what is due."""
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
    main(Rows())
