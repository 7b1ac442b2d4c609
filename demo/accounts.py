"""Accounts of pgbench, and the interval of each."""

from functools import cache

from rowcache_tasks.config.settings import Table

TABLE = Table("accounts", "pgbench_accounts", namespace="accounts")
COUNT = 100_000
"""Accounts are numbered from 1 to COUNT."""

_PATTERN = (5, 10, 10, *(20,) * 17)
DELAYS = tuple(sorted(set(_PATTERN)))
"""Intervals in seconds; 6,250 refreshes a second in all."""
LONGEST_DELAY = max(DELAYS)


def delay_of(aid: int) -> int:
    """Return the seconds between two refreshes of an account."""
    return _PATTERN[aid % len(_PATTERN)]


@cache
def accounts_with(delay: int) -> tuple[int, ...]:
    """Return the accounts that are refreshed every `delay` seconds."""
    return tuple(aid for aid in range(1, COUNT + 1) if delay_of(aid) == delay)
