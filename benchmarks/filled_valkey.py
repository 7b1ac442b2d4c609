"""Valkey filled with scheduled rows, as after an hour of refreshes.

`schedule:`, `delay:` and `changed:` are written in the order of the row ids, with due times spread as schedule_table
does; `refreshed:` in the order of the due times, as commits write it. So the rows of one claim lie as far apart in
memory as in a real deployment. Rows due within the last ten minutes, a sixth of all, have a value.
"""

from contextlib import ExitStack
from typing import Any, Self

import redis

from demo.servers import Valkey
from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule.rows import Schedule

DELAY_S = 3600.0
"""Interval of the rows."""

DUE_S = 600.0
VALUE_BYTES = 320
CHUNK = 2_000
"""Rows in one call of a script."""

PUT = """
local key, now, delay, due = KEYS[1], ARGV[3], ARGV[4], ARGV[5]
local rows = {}
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  -- schedule_table starts the first 4,000 rows one by one, and later ones 200 at a time
  local place = n - 1
  if place >= 4000 then place = math.floor(place / 200) end
  local scores = {['schedule:'] = now - due + place * 0.6180339887498949 % 1 * delay,
                  ['delay:'] = delay, ['changed:'] = now - delay}
  rows[#rows + 1] = string.format('%.17g', scores[key])
  rows[#rows + 1] = string.format('%d', n)
end
redis.call('ZADD', key, unpack(rows))
"""

REFRESH = """
local rows = redis.call('ZRANGE', 'schedule:', ARGV[1] - 1, ARGV[2] - 1, 'WITHSCORES')
for n = 1, #rows, 2 do
  rows[n], rows[n + 1] = string.format('%.17g', rows[n + 1] - ARGV[4]), rows[n]
end
redis.call('ZADD', KEYS[1], unpack(rows))
"""

ZSETS = {"schedule:": PUT, "delay:": PUT, "changed:": PUT, "refreshed:": REFRESH}
"""Key -> the script that writes a chunk of it."""


class FilledValkey:
    """A Valkey with the rows 1 to `rows`.

    `bytes_per_row` is the memory of a row: ZSET -> bytes; "inv:" -> bytes of a key and its value beyond VALUE_BYTES.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.valkey = Valkey()
        self.bytes_per_row: dict[str, float] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.valkey)
        self.client = self._stack.enter_context(redis.Redis.from_url(self.valkey.url, socket_timeout=600.0))
        self.schedule = Schedule(self.client, Table("inv", "inventory"))
        now = self.now()
        for key, script in ZSETS.items():
            before, put = self._memory(), self.client.register_script(script)
            for first in range(1, self.rows + 1, CHUNK):
                put([key], [first, min(first + CHUNK - 1, self.rows), now, DELAY_S, DUE_S])
            self.bytes_per_row[key] = (self._memory() - before) / self.rows
        before, due = self._memory(), self.client.zcount("schedule:", "-inf", now)
        for first in range(0, due, CHUNK):
            row_ids: list[Any] = self.client.zrange("schedule:", first, min(first + CHUNK, due) - 1)
            self.client.mset({f"inv:{int(row_id)}": value(int(row_id)) for row_id in row_ids})
        self.bytes_per_row["inv:"] = (self._memory() - before) / due - VALUE_BYTES
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def make_due(self, count: int) -> None:
        """Make the rows that are due next due now, in their order."""
        now, row_ids = self.now(), self.client.zrange("schedule:", 0, count - 1)
        self.client.zadd("schedule:", {row_id: now - 1 + n * 1e-5 for n, row_id in enumerate(row_ids)})

    def now(self) -> float:
        """Read the clock of the server; Unix seconds."""
        seconds, microseconds = self.client.time()
        return int(seconds) + int(microseconds) / 1e6

    def processor_s(self) -> float:
        """Read the processor time of the server; seconds."""
        used = self.client.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    def _memory(self) -> int:
        """Read the memory of the server without the buffers of connections; bytes."""
        self.client.connection_pool.disconnect()
        self.client.ping()
        return int(self.client.info("memory")["used_memory_dataset"])


def value(n: int, version: int = 0, size: int = VALUE_BYTES) -> bytes:
    """Make a value of a row; `size` in bytes."""
    start = b'{"id":%d,"version":%d,"description":"' % (n, version)
    return start + b"x" * (size - len(start) - 2) + b'"}'
