"""Warm-up of a contender, and the wait for its values."""

import json
import time
from collections.abc import Mapping

from benchmarks.processor import has_ended
from benchmarks.servers import Servers

DELAY_S = 3600.0
"""Interval of the rows; longer than a round, so that each is refreshed once."""

PARTS = 2
"""Largest number of bare loops."""

ROUNDS = 50


def warm_up(servers: Servers, pids: Mapping[str, list[int]], rows: int, sessions: int) -> None:
    """Let rows go through a contender until it has a number of sessions at the database; then remove the rows."""
    with servers.connect() as connection:
        for _ in range(ROUNDS):
            servers.schedule(1, rows, DELAY_S, servers.now() + DELAY_S)
            servers.put_old_values(rows, DELAY_S)
            due = servers.now()
            servers.reschedule(DELAY_S, due)
            order(servers, rows, due)
            wait_for_values(servers, pids, rows, due, 60.0)
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchone()
            servers.client.flushdb()
            if found and found[0] >= sessions:
                return
    raise AssertionError(f"{', '.join(pids)}: {found} sessions at the database after {ROUNDS} rounds, not {sessions}")


def order(servers: Servers, rows: int, due: float) -> None:
    """Send the bare loops, which have no schedule, the rows and their due time."""
    text = json.dumps({"at": due, "first": 1, "last": rows})
    for part in range(PARTS):
        servers.broker.rpush(f"go:{part}", text)


def wait_for_values(servers: Servers, pids: Mapping[str, list[int]], count: int, due: float, timeout_s: float) -> None:
    """Wait until the cache holds no old value any more, of a number of them.

    A look takes time of the server and of a core. So they are rare while many values are old, and the last ones come
    every 2 ms.
    """
    while left := servers.count_old_values():
        now, found = servers.now(), count - left
        ended = [group for group, roots in pids.items() if any(map(has_ended, roots))]
        assert not ended, f"{', '.join(ended)} ended during the round:\n{logs(servers, ended)}"
        assert now < due + timeout_s, (
            f"{found} of {count} rows refreshed in {timeout_s} s:\n{logs(servers, list(pids))}"
        )
        left_s = (now - due) * (count - found) / found if found and now > due else max(0.02, due - now)
        time.sleep(min(0.1, max(0.002, left_s / 2)))


def logs(servers: Servers, names: list[str]) -> str:
    """Read the ends of some logs."""
    return "\n".join(f"--- {name}\n{servers.log(name)[-2000:]}" for name in names)
