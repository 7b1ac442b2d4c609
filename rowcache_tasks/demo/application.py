"""Own what an application does to have its rows cached: it sends tasks. Run as a process, `python -m …application`.

All rows get the longest interval with one task. Those that need a shorter one follow in small groups, spread over
that interval, as they would come from users. They may overtake the first task: the change enqueued last stands.
"""

import time

from rowcache_tasks.demo.account import DELAYS, LONGEST_DELAY, TABLE, accounts_with
from rowcache_tasks.tasks import schedule_rows, schedule_table

GROUPS_PER_S = 10


def main() -> None:
    """Send the tasks; takes as long as the second longest interval."""
    schedule_table.delay(TABLE.name, LONGEST_DELAY)
    groups: list[list[tuple[int, tuple[int, ...]]]] = [[] for _ in range(GROUPS_PER_S * LONGEST_DELAY)]
    for delay in DELAYS[:-1]:
        accounts, count = accounts_with(delay), GROUPS_PER_S * delay
        for number in range(count):
            groups[number].append((delay, accounts[number::count]))
    started = time.monotonic()
    for number, group in enumerate(groups):
        if not group:
            break
        time.sleep(max(0.0, started + number / GROUPS_PER_S - time.monotonic()))
        for delay, aids in group:
            schedule_rows.delay(TABLE.name, {str(aid): delay for aid in aids})


if __name__ == "__main__":
    main()
