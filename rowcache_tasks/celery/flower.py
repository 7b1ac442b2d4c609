"""Defaults of Flower, which listens locally; any setting wins over them."""

import re
import sys
from pathlib import Path
from typing import Any

COUNTS = re.compile(r"\{(?:'[a-z_]+': \d+(?:, |\}))*")
FAILED = re.compile(r"'(?:failed|unknown|expired)': (\d+)")


def mark_failures(task: Any) -> Any:
    """Return a task of Flower, a copy, in which the state of a batch with rows that were not refreshed counts them."""
    if task.state == "SUCCESS" and (task.name or "").endswith(".refresh_row"):
        counts = COUNTS.match(str(task.result))
        failed = sum(map(int, FAILED.findall(counts[0]))) if counts else 0
        if failed:
            task.state = f"{failed:,} FAILED"
    return task


DEFAULTS = {
    # Local: Flower can stop workers, and /metrics and /healthcheck need no password.
    "address": "127.0.0.1",
    # The default of Flower hides the arguments and the results of tasks.
    "tasks_columns": "name,state,args,result,exception,received,runtime,worker,uuid",
    "natural_time": True,
    # Flower keeps everything in memory, and drops the oldest first.
    "max_tasks": 10_000,
    "max_workers": 1000,
    # Seconds after which a stopped worker vanishes from the metrics.
    "purge_offline_workers": 3600,
    # No database file for the history; the state of each row is in Redis.
    "persistent": False,
}
LOCAL = {"127.0.0.1", "::1", "localhost"}


def add_flower_defaults() -> None:
    """Set the defaults in a process of the `celery` command, which has imported Flower when it is installed."""
    if "flower.options" not in sys.modules:
        return
    from tornado.options import options  # noqa: PLC0415 an extra

    for name, value in DEFAULTS.items():
        setattr(options, name, value)
    parsed = 0

    def check() -> None:
        """Refuse logins without a user, and an address for others without a login, when all options are known."""
        nonlocal parsed
        parsed += 1
        if parsed == 1 and Path(options.conf).exists():
            return  # parsed again after that file
        logins = options.basic_auth or ()
        if any(":" not in login for login in logins):
            # A password with a comma becomes two logins, the second one without a user.
            raise SystemExit(
                "rowcache_tasks: FLOWER_BASIC_AUTH must be user:password, several separated by commas, no comma within"
            )
        if options.address not in LOCAL and not (logins or options.auth):
            raise SystemExit(
                f"rowcache_tasks: Flower on {options.address or 'every address'} needs FLOWER_BASIC_AUTH=user:password"
            )

    options.add_parse_callback(check)
