"""Cache of a test: the tasks of the package run in their caller, and `refresh` does the work of a worker."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any

from rowcache_tasks.celery.application import PackageTask
from rowcache_tasks.celery.process import Runtime, current_runtime, runtime_of
from rowcache_tasks.config.source import REDIS_URL, override
from rowcache_tasks.errors import ConfigError, SourceError
from rowcache_tasks.errors.text import show_text
from rowcache_tasks.reader.fill import loader
from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.cut import SCRIPT_BATCH, cut
from rowcache_tasks.schedule.row_state import read_failures
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.testing.server import remove_keys
from rowcache_tasks.worker.refresh import refresh_claim


@contextmanager
def open_cache(url: str, settings: Mapping[str, Any]) -> "Iterator[EagerCache]":
    """Use an empty cache, with settings that come before those of the application."""
    if REDIS_URL in settings:
        raise ConfigError(f"rowcache_settings has {REDIS_URL}: leave it out, the plugin sets it")
    close_connections()
    previous = override({**settings, REDIS_URL: url})
    try:
        remove_keys(url)
        PackageTask.runs_at_once = True
        yield EagerCache(url)
    finally:
        PackageTask.runs_at_once = False
        remove_keys(url)
        close_connections()
        override(previous)


def close_connections() -> None:
    """Close those of tasks and fills: the next test may have other settings, or a new database at the same place."""
    with suppress(ConfigError):
        current_runtime().client.close()
        current_runtime().dispose()
    runtime_of.cache_clear()
    loader.close()


class EagerCache:
    """Cache of a test, made by the fixture `rowcache`."""

    def __init__(self, url: str) -> None:
        self.url = url
        """Address of its Redis."""

    def refresh(self, *tables: str) -> dict[str, int]:
        """Refresh the due rows of these tables, by default of all; return counts of outcomes, those above 0.

        Outcomes are refreshed, unchanged, superseded, dropped and missing. A row is due after it was scheduled, after
        a request to refresh it, and when its delay has passed.

        Raises SourceError for rows that could not be read or encoded, after all others were refreshed, ArgumentError
        for an unknown table, ConfigError for wrong settings.
        """
        return refresh_claims(claim_due, tables)

    def refresh_all(self, *tables: str) -> dict[str, int]:
        """Refresh every scheduled row, due or not, as if all delays had passed; otherwise as `refresh`."""
        return refresh_claims(claim_all, tables)

    def clear(self) -> None:
        """Remove all rows and schedules."""
        remove_keys(self.url)


Claims = Callable[[Runtime, str], Iterator[Claim]]


def refresh_claims(claims: Claims, tables: Sequence[str]) -> dict[str, int]:
    """Refresh claim after claim of some tables, by default of all; return counts of outcomes."""
    runtime = current_runtime()
    total: Counter[str] = Counter()
    failed = []
    for name in tables or runtime.settings.tables:
        schedule, counts = runtime.schedule(name), Counter[str]()
        for claim in claims(runtime, name):
            counts.update(refresh_claim(schedule, runtime.source(name), claim, runtime.backoff))
        if count := counts.pop("failed", 0):
            parts = schedule.table.parts
            first = next((found for part in parts for found in read_failures(runtime.client, part, 1)), None)
            reason = f": {show_text(first.row_id)}: {first.error}" if first else ""
            failed.append(f"{count} row(s) of {name} could not be refreshed{reason}")
        total += counts
    if failed:
        raise SourceError("; ".join(failed))
    return dict(total)


def claim_due(runtime: Runtime, name: str) -> Iterator[Claim]:
    """Claim the rows that are due, each once even if its delay is short."""
    settings = runtime.settings
    for part in runtime.schedule(name).parts.values():
        for _ in range(TableState(runtime.client, part.table).count_rows() // settings.batch_size + 1):
            claim, _ = part.claim_rows(settings.batch_size, settings.lease_s)
            if claim and claim.row_ids:
                runtime.sent_batches(claim.namespace).remove(claim)
                yield claim


def claim_all(runtime: Runtime, name: str) -> Iterator[Claim]:
    """Claim the rows that are scheduled."""
    found = dict.fromkeys(chain.from_iterable(runtime.table_state(name).scan_row_ids()))
    for part, row_ids in runtime.schedule(name).divide(found):
        for batch in cut(row_ids, SCRIPT_BATCH):
            yield part.lease_rows(batch, runtime.settings.lease_s)
