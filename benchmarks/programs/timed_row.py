"""Rows whose last refresh is known: `refreshed:` holds its time for each, as with us. Sent together with the value.

The time is taken just before the value is sent, which is in favour of the program: ours is the server's.
"""

import time

from benchmarks.programs.row import Rows


class TimedRows(Rows):
    """Writes a value and the time."""

    def write(self, row_id: str, value: bytes) -> None:
        """Write one value."""
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.set(f"inv:{row_id}", value)
            pipeline.zadd("refreshed:", {row_id: time.time()})
            pipeline.execute()
