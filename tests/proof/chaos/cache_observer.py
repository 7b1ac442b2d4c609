"""Reader of all rows that records each violation of a guarantee."""

import json
import time

import redis
from proof.chaos.acknowledged import DROPPED
from proof.chaos.repeated_step import RepeatedStep

from rowcache_tasks.keys import Keys

CHUNK = 100


class CacheObserver(RepeatedStep):
    """Reads all rows again and again. `back` lists violations of G3, `undead` violations of G5."""

    pause_s = 0.03  # shorter than the shortest delay, so that a wrong value is seen before its next refresh

    def __init__(self, client, ledger, row_ids):
        super().__init__()
        self.back = []
        self.undead = []
        self.reads = 0
        self._client = client
        self._ledger = ledger
        self._row_ids = list(row_ids)
        self._keys = [Keys.of("").value(row_id) for row_id in self._row_ids]
        self._values = {}
        self._versions = dict.fromkeys(self._row_ids, 0)
        self._reported = set()

    def step(self):
        dropped = self._ledger.rows(DROPPED)
        pipeline = self._client.pipeline(transaction=False)
        for start in range(0, len(self._keys), CHUNK):
            pipeline.mget(self._keys[start : start + CHUNK])
        try:
            values = [value for chunk in pipeline.execute() for value in chunk]
        except redis.RedisError:
            time.sleep(0.05)
            return
        self.reads += 1
        for row_id, value in zip(self._row_ids, values, strict=True):
            if value is not None:
                self._check_version(row_id, value)
                if row_id in dropped:
                    self._check_dropped(row_id, dropped[row_id])

    def _check_version(self, row_id, value):
        if value == self._values.get(row_id):
            return
        self._values[row_id] = value
        row, seen = json.loads(value), self._versions[row_id]
        if str(row["id"]) != row_id:
            self.back.append(f"row {row_id} has the value of row {row['id']}")
        elif row["version"] < seen:
            self.back.append(f"row {row_id} went back from version {seen} to {row['version']}")
        else:
            self._versions[row_id] = row["version"]

    def _check_dropped(self, row_id, generation):
        # A row put again during the read may have a value.
        if self._ledger.is_still(row_id, generation) and (row_id, generation) not in self._reported:
            self._reported.add((row_id, generation))
            self.undead.append(f"row {row_id} was dropped and has a value")
