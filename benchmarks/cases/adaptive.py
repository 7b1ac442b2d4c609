"""Adaptive intervals: refreshes that are made and spared, and the ages of rows that change.

One row in twenty changes, the others never. Rows start with the longest interval; the window begins when those that
change have had time for some refreshes. The age of a value is the time since its last refresh.
"""

import json
import math
import random
import threading
import time

from support.waiting import wait_until

from benchmarks.options import Options
from benchmarks.progress import say
from benchmarks.section import Section, Table
from benchmarks.servers import Servers

ROWS, CHANGING = 2000, 100
MIN_S, MAX_S = 1.0, 60.0
CHANGES_EVERY_S = (1.0, 5.0, 10.0)
"""Mean time between two changes of a row that changes, in turn."""
SETTLE_S = 200.0


def run(servers: Servers, options: Options) -> Section:
    """Measure for each frequency of changes."""
    window_s = 20.0 if options.is_quick else 60.0
    figures, rows = {}, []
    for every_s in CHANGES_EVERY_S:
        say(f"adaptive: rows change every {every_s:g} s")
        found = measure(servers, every_s, window_s)
        figures[f"{every_s:g}"] = found
        say(f"adaptive: {found}")
        ages = [f"{found[name]:.2f} s" for name in ("age_p50", "age_p99", "delay")]
        rows.append([f"{every_s:g} s", f"{found['fewer']:.1f}×", *ages, f"{found['late_p99_ms']:.0f} ms"])
    columns = ["a row changes every", "fewer refreshes", "age p50", "age p99", "delay", "lateness p99"]
    caption = (
        f"{CHANGING} of {ROWS:,} rows change; ages and mean delay are of these. Fewer refreshes: beside an interval "
        f"of {MIN_S:g} s for all."
    )
    return Section("adaptive", "Adaptive intervals", [Table(columns, rows, caption)], figures=figures)


def measure(servers: Servers, every_s: float, window_s: float) -> dict[str, float]:
    """Change rows; return the figures of the window."""
    servers.clear()
    adaptive = {"min": MIN_S, "max": MAX_S}
    deployment = servers.deployment(ROWCACHE_TABLES=json.dumps({"inv": {"table": "inventory", "adaptive": adaptive}}))
    is_over = threading.Event()
    writer = threading.Thread(target=change, args=(servers, every_s, is_over))
    try:
        deployment.start_beat()
        deployment.start_worker()
        wait_until(lambda: servers.client.zcard("processes:") == 2, "both processes are there", 60)
        now = servers.now()
        servers.client.zadd("delay:", {str(n): MAX_S for n in range(1, ROWS + 1)})
        servers.client.zadd("schedule:", {str(n): now + n / ROWS * MAX_S for n in range(1, ROWS + 1)})
        writer.start()
        time.sleep(SETTLE_S)
        return observe(servers, window_s)
    finally:
        is_over.set()
        writer.join()
        deployment.stop()


def change(servers: Servers, every_s: float, is_over: threading.Event) -> None:
    """Change rows at random moments."""
    chance = random.Random(1)
    with servers.connect() as connection:
        while not is_over.wait(chance.expovariate(CHANGING / every_s)):
            row_id = chance.randint(1, CHANGING)
            connection.execute("UPDATE inventory SET quantity = quantity + 1 WHERE id = %s", [row_id])


def observe(servers: Servers, window_s: float) -> dict[str, float]:
    """Read the ages of the rows that change for a window, and count the refreshes of all."""
    changing = [str(n) for n in range(1, CHANGING + 1)]
    before, began_at, ages, delays = counts(servers), servers.now(), [], []
    while servers.now() < began_at + window_s:
        time.sleep(0.05)
        refreshed = servers.client.zmscore("refreshed:", changing)
        now = servers.now()
        ages += [now - at for at in refreshed if at]
        delays += [delay for delay in servers.client.zmscore("delay:", changing) if delay]
    took_s, after = servers.now() - began_at, counts(servers)
    ages.sort()
    made = sum(after.get(name, 0) - before.get(name, 0) for name in ("refreshed", "unchanged"))
    return {
        "fewer": ROWS / MIN_S * took_s / made,
        "saved": (after.get("saved", 0) - before.get("saved", 0)) / took_s,
        "age_p50": ages[len(ages) // 2],
        "age_p99": ages[math.ceil(0.99 * len(ages)) - 1],
        "delay": sum(delays) / len(delays),
        "late_p99_ms": late_ms(before, after),
    }


def counts(servers: Servers) -> dict[str, int]:
    """Read the statistics of the table."""
    return {name.decode(): int(count) for name, count in servers.client.hgetall("stats:").items()}


def late_ms(before: dict[str, int], after: dict[str, int]) -> float:
    """Return the lateness that 99 % of the commits did not exceed."""
    late = {int(name[5:]): count - before.get(name, 0) for name, count in after.items() if name.startswith("late:")}
    left = 0.99 * sum(late.values())
    for number, count in sorted(late.items()):
        left -= count
        if left <= 0:
            return float(2 ** (number / 4))
    return math.inf
