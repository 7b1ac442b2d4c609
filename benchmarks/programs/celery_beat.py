"""Celery beat with an ordinary entry for each row, and the worker of its tasks.

BENCH_ENTRIES    for beat: a file with [[row id, seconds between its refreshes, Unix time of the first], …]

A message tells when beat has sent it. So the worker can put into `schedule:` when the row is due next, by beat's own
reckoning: an interval after it was sent. Nobody acts on that; it is what benchmarks.watch reads.
"""

import json
import os
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.signals import beat_init, before_task_publish

from benchmarks.programs.row import Rows

app = Celery("celery_beat", broker=os.environ["BENCH_CELERY_BROKER_URL"])
app.conf.update(
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    worker_prefetch_multiplier=250,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


class ScheduledRows(Rows):
    """Writes a value, when it was written, and when the row is due next."""

    next_due = 0.0

    def write(self, row_id: str, value: bytes) -> None:
        """Write one value."""
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.set(f"inv:{row_id}", value)
            pipeline.zadd("schedule:", {row_id: self.next_due})
            pipeline.zadd("refreshed:", {row_id: time.time()})
            pipeline.execute()


@cache
def rows_of_process() -> ScheduledRows:
    """Open the connections at the first use: after the fork."""
    return ScheduledRows()


@app.task(bind=True)
def refresh(self: Task, row_id: str, delay_s: float) -> None:
    """Refresh a row."""
    rows = rows_of_process()
    rows.next_due = self.request.sent_at + delay_s
    rows.refresh(row_id)


@beat_init.connect
def tell_start(**_: Any) -> None:
    """Say that the entries are read."""
    print("ready", flush=True)


@before_task_publish.connect
def tell_time(headers: dict[str, Any], **_: Any) -> None:
    """Put the time into a message."""
    headers["sent_at"] = time.time()


def entries(path: str) -> dict[str, Any]:
    """Make an entry for each row; one that was last run an interval before its first due time is due then."""
    return {
        row_id: {
            "task": refresh.name,
            "schedule": delay_s,
            "args": (row_id, delay_s),
            "last_run_at": datetime.fromtimestamp(due - delay_s, UTC),
            "options": {"ignore_result": True},
        }
        for row_id, delay_s, due in json.loads(Path(path).read_text())
    }


if "BENCH_ENTRIES" in os.environ:
    app.conf.beat_schedule = entries(os.environ["BENCH_ENTRIES"])
