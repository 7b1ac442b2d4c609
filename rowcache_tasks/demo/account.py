"""Own which accounts pgbench makes and how often each is refreshed; knows nothing of how that is done."""

from functools import cache

from rowcache_tasks.config.settings import Table

TABLE = Table("accounts", "pgbench_accounts")
KEY = "aid"
SCALE = 1
COUNT = 100_000 * SCALE
"""pgbench numbers its accounts from 1 to this."""

_TURNS = (5, 10, 10, *(20,) * 17)
DELAYS = tuple(sorted(set(_TURNS)))
"""The intervals in use, seconds: few rows are read so often that they must be fresh. In all 6,250 refreshes/s."""
LONGEST_DELAY = max(DELAYS)


def delay_of(aid: int) -> int:
    """Return the seconds between two refreshes of an account."""
    return _TURNS[aid % len(_TURNS)]


@cache
def accounts_with(delay: int) -> tuple[int, ...]:
    """Return the accounts that are refreshed every `delay` seconds."""
    return tuple(aid for aid in range(1, COUNT + 1) if delay_of(aid) == delay)
