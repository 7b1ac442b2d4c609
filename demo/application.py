"""Application that schedules its rows by tasks; a process of its own.

One task gives all rows the longest interval. Rows with a shorter one follow in small groups, spread over that interval,
as users would cause them. They may overtake the first task: the change that was enqueued last stands.
"""

import time

from demo.accounts import DELAYS, LONGEST_DELAY, TABLE, accounts_with
from rowcache_tasks.tasks import schedule_rows, schedule_table

GROUPS_PER_S = 10


def main() -> None:
    """Send the tasks; takes as long as the second longest interval."""
    schedule_table.delay(TABLE.name, LONGEST_DELAY)
    started = time.monotonic()
    for number in range(GROUPS_PER_S * DELAYS[-2]):
        time.sleep(max(0.0, started + number / GROUPS_PER_S - time.monotonic()))
        for delay in DELAYS[:-1]:
            groups = GROUPS_PER_S * delay
            if number < groups:
                aids = accounts_with(delay)[number::groups]
                schedule_rows.delay(TABLE.name, {str(aid): delay for aid in aids})


if __name__ == "__main__":
    main()
