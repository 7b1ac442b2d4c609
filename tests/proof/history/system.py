"""System under test: cache, database, dispatcher, tasks, and a broker that keeps messages in lists.

Time passes by moving every time back: in Redis, and in the claims and stamps of messages. Steps are whole seconds and
the times are near each other, so that differences stay exact to the last bit.
"""

import json
from contextlib import contextmanager

from proof.history.row_model import LEASE_S, MISSING_LIMIT

from rowcache_tasks import RowCache, tasks
from rowcache_tasks.celery.process import current_runtime
from rowcache_tasks.dispatch.backpressure import Limits
from rowcache_tasks.dispatch.dispatcher import Dispatcher
from rowcache_tasks.keys import Keys
from rowcache_tasks.schedule.claim import to_messages

TABLES = {
    "inv": {"table": "inventory", "missing_limit": MISSING_LIMIT},
    "note": {"table": "notes", "namespace": "note", "key": "id", "missing_limit": MISSING_LIMIT},
}
# A broken row of inventory is read but has no JSON form; a broken row of notes makes the SELECT fail.
SCHEMA = """
CREATE TABLE inventory (id bigint PRIMARY KEY, version int NOT NULL, share float8 NOT NULL);
CREATE TABLE note (id text PRIMARY KEY, version int NOT NULL, share float8 NOT NULL);
CREATE VIEW notes AS
    SELECT id, version, CASE WHEN share = 'NaN' THEN version / 0 ELSE share END AS share FROM note;
"""
BASE_TABLES = {"inv": "inventory", "note": "note"}
UPSERT = """
INSERT INTO {} VALUES (%s, %s, %s)
ON CONFLICT (id) DO UPDATE SET version = excluded.version, share = excluded.share
"""


class ReadBefore:
    """Source with rows read earlier, as a slow worker holds them."""

    engine = None

    def __init__(self, source, row_ids):
        self.fetched = source.fetch(row_ids)

    def fetch(self, row_ids, positions=None):
        return self.fetched


class System:
    """Real servers, and in this process the dispatcher, the workers and the broker."""

    def __init__(self, client, database, batch_size=3):
        self.client, self.database = client, database
        runtime = current_runtime()
        self.runtime = runtime
        self.keys = {name: Keys.of(options.get("namespace", "")) for name, options in TABLES.items()}
        self.readers = {name: RowCache(name) for name in TABLES}
        schedules = [runtime.schedule(name) for name in TABLES]
        self.dispatcher = Dispatcher(client, schedules, self, Limits(batch_size=batch_size, lease_s=LEASE_S))
        self.reset()

    def reset(self):
        self.client.flushdb()
        self.database.execute("TRUNCATE inventory, note")
        self.is_broker_away = False
        self.messages, self.changes, self.reads = [], [], []

    def close(self):
        self.dispatcher.close()
        for reader in self.readers.values():
            reader.close()

    # the database

    def store(self, table, row_id, version, is_broken):
        self.database.execute(UPSERT.format(BASE_TABLES[table]), (row_id, version, "NaN" if is_broken else 1))

    def delete(self, table, row_id):
        self.database.execute(f"DELETE FROM {BASE_TABLES[table]} WHERE id = %s", (row_id,))

    @contextmanager
    def outage(self):
        """Rename the tables, so that each SELECT fails inside the `with`."""
        self.database.execute("ALTER TABLE inventory RENAME TO away; ALTER VIEW notes RENAME TO notes_away")
        try:
            yield
        finally:
            self.database.execute("ALTER TABLE away RENAME TO inventory; ALTER VIEW notes_away RENAME TO notes")

    # the broker

    def send(self, table, claims):
        """Keep each claim as JSON, as the publisher of the dispatcher would send one that shares no message."""
        if self.is_broker_away:
            raise OSError("the broker is away")
        for row_ids, fields in map(to_messages, zip(claims)):
            self.messages.append(json.dumps({"table": table, "row_ids": row_ids, **fields}))

    def queue_length(self):
        """Return 0: workers have fetched every message."""
        return 0

    def dispatch(self):
        """Make one pass; return the messages that it sent."""
        before = len(self.messages)
        self.client.delete("queue:")
        self.dispatcher.run_once()
        return [json.loads(message) for message in self.messages[before:]]

    # workers

    def refresh(self, message, source=None):
        """Run the task of a message; `source` replaces the source of its table."""
        sources, table = self.runtime._sources, message["table"]
        own = self.runtime.source(table)
        try:
            sources[table] = source or own
            result = tasks.refresh_row(**message)
            return {name: count for name, count in result.items() if name not in {"late_ms", "error"}}
        finally:
            sources[table] = own

    def read(self, message):
        """Read the batch of a message now, to be committed later or never."""
        return ReadBefore(self.runtime.source(message["table"]), message["row_ids"])

    # time

    def pass_time(self, seconds):
        for keys in self.keys.values():
            for name in (keys.schedule, keys.refreshed, keys.changed):
                times = self.client.zrange(name, 0, -1, withscores=True)
                if times:
                    self.client.zadd(name, {row_id: at - seconds for row_id, at in times})
        self.messages[:] = [older(message, seconds) for message in self.messages]
        self.reads[:] = [(older(message, seconds), source) for message, source in self.reads]
        self.changes[:] = [(*change, stamp - seconds) for *change, stamp in self.changes]

    # observation

    def raw(self, table, row_ids):
        """Return the time, the length of the wake list, and row id -> (delay, due time, fence, failure, value)."""
        keys = self.keys[table]
        pipeline = self.client.pipeline(transaction=False)
        pipeline.time()
        pipeline.llen(keys.wake)
        for name in (keys.delay, keys.schedule, keys.refreshed):
            pipeline.zmscore(name, row_ids)
        pipeline.hmget(keys.failures, row_ids)
        pipeline.mget([keys.value(row_id) for row_id in row_ids])
        (seconds, microseconds), wakes, *columns = pipeline.execute()
        rows = zip(*columns, strict=True)
        return seconds + microseconds / 1e6, wakes, dict(zip(row_ids, rows, strict=True))

    def now(self):
        seconds, microseconds = self.client.time()
        return seconds + microseconds / 1e6

    def count_due(self):
        now = self.now()
        return sum(self.client.zcount(keys.schedule, "-inf", now) for keys in self.keys.values())


def older(message, seconds):
    """Return the message with its times moved back."""
    fields = json.loads(message)
    for name in ("claimed_at", "lease_until"):
        fields["claim"][name] = f"{float(fields['claim'][name]) - seconds:.17g}"
    return json.dumps(fields)
