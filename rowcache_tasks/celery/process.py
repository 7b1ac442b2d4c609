"""Runtime of a worker process: settings, Redis client, engines."""

import os
from functools import cache, cached_property
from typing import TYPE_CHECKING

import redis

from rowcache_tasks.celery.application import active_app, settings_of
from rowcache_tasks.config.settings import Settings
from rowcache_tasks.dispatch.sent_batches import SentBatches
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.keys import Keys
from rowcache_tasks.schedule.arguments import Stamps
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.row_state import Backoff
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.worker.admission import Admission
from rowcache_tasks.worker.whole_table import WholeTable

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from rowcache_tasks.database.source import Source


class Runtime:
    """Objects that a process keeps between tasks. Thread-safe; connections are opened on first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.backoff = Backoff(max_s=settings.max_backoff_s, lease_s=settings.lease_s)
        self.stamps = Stamps()
        self.statement_timeout_s = settings.lease_s
        self._batches: dict[str, SentBatches] = {}
        self._sources: dict[str, Source] = {}
        self._engines: dict[str, Engine] = {}

    @cached_property
    def client(self) -> "redis.Redis":
        """The client of the cache's Redis."""
        return connect(self.settings.redis_url, "tasks")

    def sent_batches(self, namespace: str) -> SentBatches:
        """Return the list of batches that were sent and not started yet, by the namespace of their claims."""
        keys = Keys.of(namespace, self.settings.deployment)
        if keys.queue not in self._batches:
            self._batches[keys.queue] = SentBatches(self.client, keys.queue, keys.state if "{" in namespace else "")
        return self._batches[keys.queue]

    @cached_property
    def admission(self) -> Admission:
        """The check of schedule changes against the capacity of the workers."""
        return Admission(self.client, self.settings)

    def engine(self, url: str | None) -> "Engine":
        """Return the engine of a database; no statement outlives the lease of the rows that it reads."""
        if url is None:
            raise ConfigError("rowcache_database_url is not set: a worker needs it, e.g. postgresql+psycopg://host/db")
        if url not in self._engines:
            from rowcache_tasks.database.engine import create_source_engine  # noqa: PLC0415 an extra

            timeout_s, setting = self.statement_timeout_s, self.settings.setting_of(url)
            may = all(table.replica for table in self.settings.by_database().get(url, ()))
            self._engines[url] = create_source_engine(
                url, statement_timeout_s=timeout_s, setting=setting, may_be_replica=may
            )
        return self._engines[url]

    def dispose(self) -> None:
        """Close the connections to all databases."""
        for engine in self._engines.values():
            engine.dispose()

    def schedule(self, table: str) -> Schedule:
        """Return the schedule of a table; raises ArgumentError for an unknown one."""
        return Schedule(self.client, self.settings.table(table))

    def table_state(self, table: str) -> TableState:
        """Return the state of a table as a whole; raises ArgumentError for an unknown one."""
        return TableState(self.client, self.settings.table(table))

    def whole_table(self, table: str) -> WholeTable:
        """Return a table and its rows in the database; raises ArgumentError for an unknown one."""
        return WholeTable(self.schedule(table), self.table_state(table), self.source(table), self.admission)

    def source(self, table: str) -> "Source":
        """Return the source of a table; raises ArgumentError for an unknown one."""
        if table not in self._sources:
            from rowcache_tasks.database.source import Source  # noqa: PLC0415 an extra

            found = self.settings.table(table)
            self._sources[table] = Source(self.engine(self.settings.url_of(found)), found)
        return self._sources[table]


@cache
def runtime_of(app: object) -> Runtime:
    """Return the runtime of an application in this process; a forked child makes its own."""
    return Runtime(settings_of(app))


def current_runtime() -> Runtime:
    """Return the runtime of the application that is used."""
    return runtime_of(active_app())


os.register_at_fork(after_in_child=runtime_of.cache_clear)
