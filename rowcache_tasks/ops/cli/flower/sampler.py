"""Samples of the state of a deployment: the last one, and figures of the last hour for charts."""

import json
import logging
import math
import threading
import time
from array import array
from collections import deque
from typing import Any

import redis

from rowcache_tasks.errors.text import one_line
from rowcache_tasks.ops.cli.access import Access, describe_redis_error
from rowcache_tasks.ops.cli.status import Status, read_status

logger = logging.getLogger(__name__)

INTERVAL_S = 5.0
MAX_SHARE = 0.02  # share of a core that samples may take: those of hundreds of tables are further apart
AGAIN_S = 1.0  # time until the next try while Redis is away
KEPT_S = 3600
WINDOW_S = 60  # rates and lateness are those of so many seconds
SERIES = (
    *("age_p50", "age_p99", "age_max", "late_p50_ms", "late_p99_ms"),
    *("rate", "unchanged_share", "overdue", "failing"),
)
"""Figures of a table that are kept, by their names in the JSON of `status`."""


class Sampler(threading.Thread):
    """Thread that reads the figures of `rowcache status --json` again and again; other threads call its methods."""

    def __init__(self, access: Access) -> None:
        super().__init__(name="rowcache-sampler", daemon=True)
        self.access = access
        self.error = ""  # why the last try to read Redis failed; empty when it did not
        self.interval_s = INTERVAL_S
        self._last = "null"
        self._read_at: float | None = None
        self._window: deque[Status] = deque()
        self._points: deque[tuple[float, array[float]]] = deque(maxlen=int(KEPT_S / INTERVAL_S))
        """Time of Redis, then the lengths of both queues and the SERIES of each table; not a number: not known."""
        self._again = threading.Event()

    def run(self) -> None:
        """Sample for ever."""
        while True:
            began_s = time.thread_time()
            self.sample()
            self.interval_s = max(INTERVAL_S, (time.thread_time() - began_s) / MAX_SHARE)
            self._again.wait(AGAIN_S if self.error else self.interval_s)
            self._again.clear()

    def hurry(self) -> None:
        """Take the next sample now."""
        self._again.set()

    def sample(self) -> None:
        """Take a sample. While Redis is away, the last one stays; that is logged once."""
        error = ""
        try:
            self._keep(read_status(self.access, self._window[0] if self._window else None))
        except redis.RedisError as failure:
            error = one_line(describe_redis_error(failure, self.access.settings))
        except Exception as failure:
            error = one_line(f"{type(failure).__name__}: {failure}")
            if error != self.error:
                logger.exception("sample_failed")
        if error and not self.error:
            logger.warning("no_sample: %s", error)
        self.error = error

    def describe(self, table: str, since: float) -> str:
        """Return the last sample and the points of a table after a time of Redis, as a JSON object."""
        known = list(self.access.settings.tables)
        place = 2 + len(SERIES) * known.index(table) if table in known else 2
        points = [
            [at, *map(number, figures[:2]), *map(number, figures[place : place + len(SERIES)])]
            for at, figures in self._points.copy()
            if at > since
        ]
        age_s = None if self._read_at is None else time.monotonic() - self._read_at
        facts = {"error": self.error, "age_s": age_s, "interval_s": self.interval_s}
        more = json.dumps(facts | {"series": ["at", "refresh", "schedule", *SERIES]})
        return f'{more[:-1]}, "points": {json.dumps(points)}, "status": {self._last}}}'

    def _keep(self, status: Status) -> None:
        found = status.as_json()
        if self._points and found["at"] < self._points[-1][0]:  # the clock of Redis stepped back
            self._points.clear()
            self._window.clear()
        self._window.append(status)
        while len(self._window) > 1 and self._window[1].now.at < found["at"] - WINDOW_S:
            self._window.popleft()
        lengths = [queue["length"] for queue in found["queues"].values()]
        figures = [table[name] for table in found["tables"].values() for name in SERIES]
        values = (math.nan if value is None else value for value in (*lengths, *figures))
        self._last, self._read_at = json.dumps(found), time.monotonic()
        self._points.append((found["at"], array("f", values)))


def number(value: float) -> Any:
    """Return a figure with four digits; None: not known."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
