"""Reason for the state of a row: why it is fresh, late, not cached or gone."""

import time
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from rowcache_tasks.celery.application import COMMAND
from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors.text import one_line, show_count, show_duration, show_text
from rowcache_tasks.ops import problem
from rowcache_tasks.ops.overview import Overview
from rowcache_tasks.schedule.note import NO_NOTES, ClaimNote, Notes, Outcome
from rowcache_tasks.schedule.process import DISPATCHER, WORKER
from rowcache_tasks.schedule.row_state import RowState

NO_TABLE = "has no table"  # part of the error of a worker without the table (worker/refresh.py)


class Reason(NamedTuple):
    """One line for people, and its name for programs."""

    name: str
    text: str


def reason_of(
    row: RowState,
    found: Overview,
    table: Table,
    *,
    in_database: bool | None = None,
    notes: Notes = NO_NOTES,
    mistake: str = "",
) -> Reason:
    """Return the reason. `in_database`: whether the database has the row; None: not known. `mistake`: in the row id."""
    if not row.is_wanted:
        if mistake and row.due_in is None and row.value is None:
            return Reason("wrong_row_id", mistake)
        return reason_of_unwanted(row, found, table, in_database, notes)
    if row.due_in is None:
        return Reason(
            "lost", f"it is not in {table.part_of(row.row_id).keys.schedule!r}: {COMMAND} refresh {table.name} ROW_ID"
        )
    if in_database is False:
        times = show_count(row.failure.failures, "time") if row.failure else "not yet"
        return Reason(
            "missing_in_database",
            f"the database has no such row (noticed {times}, dropped after {table.missing_limit}): {next_try(row)}",
        )
    if is_fresh(row):
        since = show_duration(row.age or 0)
        return Reason("fresh", f"refreshed {since} ago, {interval_of(row, table)}: {next_try(row)}")
    full = (Reason("redis_full", each.text) for each in problem.memory_problems(found))
    return next(chain(full, reasons_of_late(row, found, table, notes)))


def reason_of_unwanted(
    row: RowState, found: Overview, table: Table, in_database: bool | None, notes: Notes = NO_NOTES
) -> Reason:
    """Return the reason for a row without a delay, or with one <= 0."""
    gone = "; the database has no such row" if in_database is False else ""
    if row.is_filled:
        return Reason("filled", f"a reader filled it, and it expires in {show_duration(row.expires_s or 0)}{gone}")
    if row.due_in is not None:
        return Reason("to_be_dropped", f"it has no delay, and is dropped when it is claimed: {next_try(row)}")
    if row.value is not None:
        remedy = f"{COMMAND} unschedule {table.name} ROW_ID removes it"
        return Reason("not_scheduled", f"not scheduled, and its value stays as it is: {remedy}{gone}")
    waiting = "".join(f"; {each.text}" for each in problem.schedule_queue_problems(found))
    last = notes.last
    is_change = last and last.reason.startswith("unscheduled")  # while it was refreshed: the change is the reason
    if last and last.outcome == "dropped" and last.at > (row.changed or 0) and not is_change:
        return Reason("dropped", f"dropped {ago(row, last.at)}: {last.reason}{waiting}")
    if row.changed is not None:
        change = f" by {notes.change.describe()}" if notes.change else ""
        text = f"dropped{change}: its last schedule change was enqueued {ago(row, row.changed)}{gone}{waiting}"
        return Reason("dropped", text)
    return Reason(
        "never_scheduled",
        f"not scheduled, now or in the last day: {COMMAND} schedule {table.name} DELAY ROW_ID{gone}{waiting}",
    )


def reasons_of_late(row: RowState, found: Overview, table: Table, notes: Notes) -> Iterator[Reason]:
    """Yield the reasons for a scheduled row whose value is too old, or absent; the first is the one to mend."""
    is_due, is_failing = (row.due_in or 0) <= 0, row.failure is not None
    snapshot, queue = found.tables[table.name], found.names.refresh_queue
    workers = [worker for worker in found.alive(WORKER) if queue in worker.queues]
    without = [worker.name for worker in workers if table.name not in worker.tables]
    if row.failure is not None and NO_TABLE in row.failure.error:
        yield Reason("table_unknown_to_workers", row.failure.error)
    if workers and len(without) == len(workers):
        yield Reason(
            "table_unknown_to_workers",
            f"no worker has table {show_text(table.name)} in its settings: restart {', '.join(without[:5])}",
        )
    if is_due and snapshot.paused_s is not None:
        yield Reason("paused", f"{snapshot.describe()}: {COMMAND} resume {table.name}")
    is_dispatched = any(table.name in dispatcher.tables for dispatcher in found.alive(DISPATCHER))
    if is_due and found.knows_processes and not is_dispatched:
        yield Reason("no_dispatcher", "; ".join(each.text for each in problem.dispatcher_problems(found)))
    if is_due or not is_failing:
        yield from reasons_of_idle(found, queue)
    if row.failure is not None:
        times, error = show_count(row.failure.failures, "time"), one_line(row.failure.error)
        yield Reason("failing", f"failed {times} in a row: {error}: {next_try(row)}")
    yield from (Reason("refused", each.text) for each in problem.refusal_problems(found))
    if is_due:
        yield reason_of_overdue(row, found, table, notes.last)
    if row.is_value_gone:
        remedy = f"{COMMAND} refresh {table.name} ROW_ID"
        yield Reason("value_gone", f"its value has expired, was evicted, or was removed by another program: {remedy}")
    if row.is_claimed(found.settings.lease_s):
        yield reason_of_claimed(row, found, notes.claim)
    yield Reason("not_due_yet", f"it was not refreshed in this time: {next_try(row)}")


def reasons_of_idle(found: Overview, queue: str) -> Iterator[Reason]:
    """Yield the reasons why no worker takes batches."""
    yield from (Reason("broker_away", each.text) for each in problem.broker_problems(found))
    if found.knows_processes and not found.consumers(queue):
        yield Reason("no_worker", next(problem.worker_problems(found)).text)


def reason_of_claimed(row: RowState, found: Overview, claim: ClaimNote | None) -> Reason:
    """Return the reason for a row that is claimed, or whose worker has died."""
    until = time.strftime("%H:%M:%S", time.localtime(row.due))
    then = f"until {until} ({show_duration(row.due_in or 0)} left), then due again"
    if claim is None:
        return Reason("claimed", f"claimed for a worker {then}")
    by = describe_claim(claim, row.at)
    alive = {worker.name for worker in found.alive(WORKER)}
    if claim.worker and claim.worker not in alive:
        return Reason("worker_lost", f"{claim.worker} was killed or hangs: claimed {ago(row, claim.at)} by {by} {then}")
    return Reason("claimed", f"claimed {ago(row, claim.at)} by {by} {then}")


def describe_claim(claim: ClaimNote, now: float) -> str:
    """Return the dispatcher and the worker of a claim as a phrase for people."""
    task = f"task {claim.task}"
    by = f"{claim.dispatcher} (process {claim.pid}) for {task}" if claim.dispatcher else f"hand in {task}"
    if not claim.worker:
        return f"{by}, which no worker has started"
    since = "" if claim.started_at is None else f" {show_duration(max(0.0, now - claim.started_at))} ago"
    return f"{by}, which {claim.worker} (process {claim.worker_pid}) has started{since}"


def reason_of_overdue(row: RowState, found: Overview, table: Table, last: Outcome | None) -> Reason:
    """Return the reason for a due row while dispatchers and workers are alive."""
    if last and last.outcome == "skipped" and last.at > (row.refreshed or 0):
        return Reason("skipped", f"its last refresh was left out {ago(row, last.at)} ({last.reason}): {next_try(row)}")
    if last and last.outcome == "superseded" and last.at > (row.refreshed or 0):
        text = f"its last refresh was not written {ago(row, last.at)} ({last.reason}): {next_try(row)}"
        return Reason("superseded", text)
    queue = found.names.refresh_queue
    batches, late = found.length(queue), show_duration(-(row.due_in or 0))
    if found.tables[table.name].is_capped:
        held = f"due for {late}: max_rate of the table, {table.max_rate:g} refreshes a second, holds rows back"
        return Reason("capped", f"{held}; they are claimed in order: raise it, or raise delays")
    if batches:
        oldest = "" if found.oldest_batch_s is None else f", the oldest for {show_duration(found.oldest_batch_s)}"
        return Reason(
            "queue_is_long",
            f"due for {late}: {show_count(batches, 'batch', 'batches')} of rows wait in {queue}{oldest}, and "
            f"{show_count(found.consumers(queue), 'worker')} take them: start more workers, or raise delays",
        )
    if found.oldest_batch_s is not None and found.oldest_batch_s > found.settings.lease_s / 2:
        return Reason(
            "queue_is_stuck",
            f"due for {late}: no worker has started the batch that was claimed "
            f"{show_duration(found.oldest_batch_s)} ago, so nothing is claimed: restart the workers",
        )
    return Reason("due", f"due for {late}: the next claim takes it, or a later one: rows are claimed in order")


def is_fresh(row: RowState) -> bool:
    """Whether a row is refreshed in time: neither due nor failing, with a value that is not older than its delay."""
    is_on_time = row.age is not None and row.delay is not None and row.age <= row.delay
    return is_on_time and row.failure is None and (row.due_in or 0) > 0


def interval_of(row: RowState, table: Table) -> str:
    """Return the delay of a row as a phrase."""
    bounds = f" (adaptive, {table.adaptive.min_s:g} to {table.adaptive.max_s:g} s)" if table.adaptive else ""
    return f"every {row.delay:g} s{bounds}"


def ago(row: RowState, time: float) -> str:
    """Return how long before the reading a time was, as a phrase."""
    return f"{show_duration(max(0.0, row.at - time))} ago"


def next_try(row: RowState) -> str:
    """Return when a row is due, as a phrase."""
    if row.due_in is None:
        return "not in the schedule"
    word = f"in {show_duration(row.due_in)}" if row.due_in > 0 else f"for {show_duration(-row.due_in)}"
    return f"due {word}"


def describe_row(state: RowState, table: Table) -> str:
    """Return age, next refresh and last failure as a phrase for people."""
    words = [] if state.age is None else [f"{show_duration(state.age)} old"]
    words.append(describe_schedule(state, table.name))
    if failure := state.failure:
        times = show_count(failure.failures, "time")
        words.append(f"failed {times} in a row, last {ago(state, failure.at)}: {failure.error}")
    return "; ".join(words)


def describe_schedule(state: RowState, table: str) -> str:
    """Return the next refresh of a row as a phrase for people, with a remedy where there is none."""
    if state.delay is None and state.due_in is None:
        return f"not scheduled ({COMMAND} schedule {table} DELAY ROW_ID)"
    if state.is_filled:
        return f"filled by a reader, expires in {show_duration(state.expires_s or 0)}"
    if not state.is_wanted:
        return "to be dropped"
    if state.due_in is None:
        return f"lost from the schedule ({COMMAND} refresh {table} ROW_ID)"
    every = f"refreshed every {state.delay:g} s"
    if state.due_in <= 0:
        return f"{every}, due for {show_duration(-state.due_in)}"
    return f"{every}, due or its lease ends in {show_duration(state.due_in)}"
