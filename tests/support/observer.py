"""Observer of the lateness of rows, by the times of their commits alone."""

import threading
from collections import Counter

from rowcache_tasks.schedule.connection import connect


class Observer:
    """Reads the commit times of all rows several times within a delay; longer delays make it exact.

    The lateness of a row is the time between two of its commits minus its delay. For a row whose next commit has not
    come yet, it counts until now. Rows that were never committed are listed by missing().
    """

    def __init__(self, deployment, delays, pause_s=0.1):
        """Observe rows: row id -> delay in seconds."""
        self._client = connect(deployment.valkey.url, "observer")
        self._delays = {row_id.encode(): delay for row_id, delay in delays.items()}
        self._pause_s = pause_s
        self._last = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._is_over = threading.Event()
        self.error = None
        self.late_s = {}
        """Row id -> its greatest lateness since the start or reset(); seconds."""
        self.commits = Counter()
        """Row id -> observed commits."""

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._is_over.set()
        self._thread.join()
        self._client.close()
        if self.error is not None:
            raise self.error

    def reset(self):
        """Forget the lateness so far; return the latest row and its lateness in seconds."""
        late_s, self.late_s = self.late_s, {}
        return max(late_s.items(), key=lambda item: item[1], default=(None, 0.0))

    def missing(self):
        """List the rows that are not in the schedule, or were never committed."""
        scheduled = set(self._client.zrange("schedule:", 0, -1))
        return sorted(row_id for row_id in self._delays if row_id not in scheduled or row_id not in self._last)

    def _watch(self):
        try:
            while not self._is_over.wait(self._pause_s):
                self._look()
        except Exception as error:  # noqa: BLE001 - raised when the observer is closed
            self.error = error

    def _look(self):
        pipeline = self._client.pipeline(transaction=True)
        pipeline.time()
        pipeline.zrange("refreshed:", 0, -1, withscores=True)
        (seconds, microseconds), found = pipeline.execute()
        now = seconds + microseconds / 1e6
        late_s, last = self.late_s, self._last
        for row_id, committed_at in found:
            before, delay = last.get(row_id), self._delays.get(row_id)
            if before is not None and delay is not None:
                until = committed_at if committed_at > before else now
                late_s[row_id] = max(late_s.get(row_id, 0.0), until - before - delay)
                self.commits[row_id] += committed_at > before
            last[row_id] = committed_at
