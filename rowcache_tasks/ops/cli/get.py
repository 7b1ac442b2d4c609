"""Command get: a cached row, or the reason why there is none."""

from typing import Any

import click
import msgspec

from rowcache_tasks.config.settings import Table
from rowcache_tasks.ops.cli.access import Access, FailedError, open_access
from rowcache_tasks.ops.overview import read_overview
from rowcache_tasks.ops.problem import dispatcher_problems, schedule_queue_problems, worker_problems
from rowcache_tasks.ops.snapshot import parse_failure
from rowcache_tasks.schedule.arguments import parse_row_id
from rowcache_tasks.schedule.row_id import encode_row_id
from rowcache_tasks.text import show_count, show_duration, show_text

COMMAND = "celery -A rowcache_tasks rowcache"


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("table")
@click.argument("row_id")
@click.option("--age", is_flag=True, help="Print the age of the row and its next refresh on stderr.")
def get(table: str, row_id: str, age: bool) -> None:
    """Print the JSON of a cached row. Exit status 1, and the reason, when it is not cached."""
    with open_access() as access:
        settings = access.settings.table(table)
        value, state, is_scheduled = read_row(access, settings, parse_row_id(row_id))
        if value is None:
            reasons = [state, *explain_absence(access, settings, is_scheduled)]
            raise FailedError(f"row {show_text(row_id)} of {table} is not cached: {'; '.join(reasons)}")
        if not is_row(value):
            raise FailedError(
                f"row {show_text(row_id)} of {table} is not a JSON object, so readers find nothing: "
                f"{COMMAND} refresh {table} ROW_ID replaces it"
            )
    click.echo(value)
    if age:
        click.echo(f"row {show_text(row_id)} of {table} is {state}", err=True)


def is_row(value: bytes) -> bool:
    """Return whether readers can decode a value."""
    try:
        msgspec.json.decode(value, type=dict[str, Any])
    except (ValueError, RecursionError):
        return False
    return True


def read_row(access: Access, table: Table, row_id: str) -> tuple[bytes | None, str, bool]:
    """Read the value of a row, describe its state, and return whether it is scheduled; one round trip."""
    keys, member = table.keys, encode_row_id(row_id)
    pipeline: Any = access.client.pipeline(transaction=True)
    pipeline.time()
    pipeline.get(keys.value(row_id))
    pipeline.zscore(keys.refreshed, member)
    pipeline.zscore(keys.schedule, member)
    pipeline.zscore(keys.delay, member)
    pipeline.hget(keys.failures, member)
    (seconds, microseconds), value, refreshed, due, delay, failure = pipeline.execute()
    now = int(seconds) + int(microseconds) / 1e6
    words = []
    if value is not None and refreshed is not None:
        words.append(f"{show_duration(max(0.0, now - refreshed))} old")
    words.append(describe_schedule(table.name, now, due, delay))
    if failure is not None:
        record = parse_failure(row_id, failure)
        ago = show_duration(max(0.0, now - record.at))
        words.append(f"failed {show_count(record.failures, 'time')} in a row, last {ago} ago: {record.error}")
    return value, "; ".join(words), due is not None


def explain_absence(access: Access, table: Table, is_scheduled: bool) -> list[str]:
    """Return the faults that keep a row from being scheduled, or from being refreshed."""
    found = read_overview(access.client, access.settings, access.broker)
    if not is_scheduled:
        return [problem.text for problem in schedule_queue_problems(found)]
    now = found.tables[table.name]
    paused = [] if now.paused_s is None else [f"{now.describe()}: {COMMAND} resume {table.name}"]
    return [*paused, *(problem.text for problem in (*dispatcher_problems(found), *worker_problems(found)))]


def describe_schedule(table: str, now: float, due: float | None, delay: float | None) -> str:
    """Describe the next refresh of a row."""
    if delay is None and due is None:
        return f"not scheduled ({COMMAND} schedule {table} DELAY ROW_ID)"
    if delay is None or delay <= 0:
        return "to be dropped"
    if due is None:
        return f"lost from the schedule ({COMMAND} refresh {table} ROW_ID)"
    every = f"refreshed every {delay:g} s"
    if due <= now:
        return f"{every}, due for {show_duration(now - due)}"
    return f"{every}, due or its lease ends in {show_duration(due - now)}"
