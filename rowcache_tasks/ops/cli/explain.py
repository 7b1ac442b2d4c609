"""Command explain: the reason for the state of a row, and every fact known about it."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import click
import msgspec
import redis

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import ConfigError, SourceError
from rowcache_tasks.errors.text import one_line, show_count, show_duration, show_text
from rowcache_tasks.ops.cli.access import Access
from rowcache_tasks.ops.cli.command import Result, RowIdTableCommand, command
from rowcache_tasks.ops.overview import Overview, read_overview
from rowcache_tasks.ops.problem import describe_queue
from rowcache_tasks.ops.reason import Reason, ago, describe_claim, interval_of, next_try, reason_of
from rowcache_tasks.schedule.arguments import parse_row_id
from rowcache_tasks.schedule.note import NO_NOTES, ClaimNote, Notes, Outcome, ask_outcomes, read_notes
from rowcache_tasks.schedule.process import DISPATCHER, WORKER
from rowcache_tasks.schedule.row_state import RowState, finite, read_row_states

ASK_S = 2.0  # longest wait for the database: the row may be late because of it
SAME_S = 1e-4  # two times of a claim that differ by less are the same: no two claims are

Answer = Literal["equal", "different", "missing", "unreadable", "unknown"]
ANSWERS: dict[Answer, tuple[bool | None, str]] = {
    "equal": (True, "has the row as it is cached"),
    "different": (True, "has the row with another value, or the row is not cached"),
    "missing": (False, "has no such row"),
    "unreadable": (None, "cannot read the row"),
    "unknown": (None, "was not asked"),
}
"""Answer of the database -> whether it has the row, None: not known; a phrase for people."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row at one moment. Times are Unix seconds by the clock of Redis."""

    table: Table
    row: RowState
    found: Overview
    database: Answer
    database_error: str = ""  # why the database is not known
    is_waiting: bool = False  # whether its claim is in a batch that no worker has started
    notes: Notes = NO_NOTES
    mistake: str = ""  # reason why the database has no row of this id

    @property
    def reason(self) -> Reason:
        """Why the row is as it is."""
        known, _ = ANSWERS[self.database]
        return reason_of(self.row, self.found, self.table, in_database=known, notes=self.notes, mistake=self.mistake)

    @property
    def is_claimed(self) -> bool:
        """Whether the row is claimed."""
        return self.row.is_claimed(self.found.settings.lease_s)

    @property
    def claim(self) -> ClaimNote | None:
        """The note of its claim; None: not claimed, or not noted."""
        return self.notes.claim if self.is_claimed else None

    def having(self, kind: str) -> int:
        """Count the processes that are alive and have the table."""
        return sum(self.table.name in process.tables for process in self.found.alive(kind))

    def as_json(self) -> dict[str, Any]:
        """Return every fact; None: not known, or there is none."""
        row, found, reason = self.row, self.found, self.reason
        return {
            "row_id": row.row_id,
            "reason": reason.name,
            "text": one_line(reason.text),
            "at": row.at,
            "cached": row.value is not None,
            "bytes": None if row.value is None else len(row.value),
            "age": finite(row.age),
            "expires_in": row.expires_s,
            "refreshed_at": finite(row.refreshed),
            "delay": finite(row.delay),
            "due_in": finite(row.due_in),
            "changed_at": finite(row.changed),
            "max_staleness": self.table.max_staleness_s,
            "change": self.notes.change and msgspec.to_builtins(self.notes.change),
            "claimed": self.is_claimed,
            "claim": self.claim and msgspec.to_builtins(self.claim),
            "lease_until": finite(row.due) if self.is_claimed else None,
            "batch_started": not self.is_waiting if self.is_claimed else None,
            "failures": row.failure.failures if row.failure else 0,
            "error": one_line(row.failure.error) if row.failure else None,
            "failed_at": row.failure.at if row.failure else None,
            "outcomes": msgspec.to_builtins(self.notes.outcomes),
            "paused_at": found.tables[self.table.name].paused_at,
            "queue": found.length(found.names.refresh_queue),
            "dispatchers": self.having(DISPATCHER),
            "workers": self.having(WORKER),
            "database": self.database,
            "database_error": self.database_error or None,
        }

    def lines(self) -> list[str]:
        """Return the reason, then a line for each place."""
        row, table = self.row, self.found.tables[self.table.name]
        having = [show_count(self.having(kind), kind) for kind in (DISPATCHER, WORKER)]
        paused = "not paused" if table.paused_s is None else f"paused for {show_duration(table.paused_s)}"
        error = f": {self.database_error}" if self.database_error else ""
        facts = {
            "value": self._value(),
            "schedule": self._schedule(),
            "claim": self._claim(),
            "outcomes": "; ".join(map(self._outcome, self.notes.outcomes)) or "none noted",
            "failure": "none" if row.failure is None else f"{ago(row, row.failure.at)}: {row.failure.error}",
            "table": f"{paused}; {' and '.join(having)} alive that have it",
            "queue": describe_queue(self.found, self.found.names.refresh_queue),
            "database": ANSWERS[self.database][1] + error,
        }
        head = f"row {show_text(row.row_id)} of {self.table.name}: {self.reason.name.replace('_', ' ')}: "
        return [head + one_line(self.reason.text), *(f"  {name:<10}{one_line(text)}" for name, text in facts.items())]

    def _value(self) -> str:
        row = self.row
        if row.value is None:
            return "not cached"
        age = "of unknown age" if row.age is None else f"{show_duration(row.age)} old"
        expires = "" if row.expires_s is None else f", expires in {show_duration(row.expires_s)}"
        return f"{len(row.value):,} bytes, {age}{expires}"

    def _schedule(self) -> str:
        row = self.row
        every = "no interval" if row.delay is None else interval_of(row, self.table)
        changed = "none in the last day" if row.changed is None else f"enqueued {ago(row, row.changed)}"
        due = next_try(row)
        if self.is_claimed:
            due = f"its lease ends in {show_duration(row.due_in or 0)}"
        if self.notes.change:
            changed += f" by {self.notes.change.describe()}"
        promise = f", at most {self.table.max_staleness_s:g} s old" if self.table.max_staleness_s else ""
        return f"{every}{promise}, {due}; last change: {changed}"

    def _claim(self) -> str:
        if not self.is_claimed:
            return "not claimed"
        started = "no worker has started its batch" if self.is_waiting else "a worker has started its batch"
        if (claim := self.claim) is None:
            return f"claimed; {started}"
        return f"claimed {ago(self.row, claim.at)} by {describe_claim(claim, self.row.at)}"

    def _outcome(self, outcome: Outcome) -> str:
        return f"{outcome.outcome} {ago(self.row, outcome.at)}" + (f" ({outcome.reason})" if outcome.reason else "")


@command("explain inv 42", cls=RowIdTableCommand)
@click.argument("row_id")
def explain(access: Access, table: str, row_id: str) -> Result:
    """Name the reason for the state of a row of TABLE. Prints all that is known about it.

    Changes nothing. Each outcome of the row is noted for an hour from then on.
    """
    found = read_explanation(access, access.settings.table(table), parse_row_id(row_id))
    return Result(found.lines(), found.as_json())


def read_explanation(access: Access, table: Table, row_id: str) -> Explanation:
    """Read Redis, the broker and the database; without the database, the rest."""
    part = table.part_of(row_id)
    (row,) = read_row_states(access.client, table, [row_id])
    notes = read_notes(access.client, table, part, row)
    ask_outcomes(access.client, part, row_id)
    is_waiting = False
    if row.due is not None and not (notes.claim and notes.claim.worker):
        claimed_at = notes.claim.at if notes.claim else row.due - access.settings.lease_s
        with suppress(redis.ResponseError):  # a key of another type, made by another program
            waiting: Any = access.client.zcount(part.keys.queue, claimed_at - SAME_S, claimed_at + SAME_S)
            is_waiting = waiting > 0
    overview = read_overview(access.client, access.settings, access.broker, with_clients=False)
    access.statement_timeout_s = min(ASK_S, access.statement_timeout_s)
    answer, error, mistake = ask_database(access, table, row)
    return Explanation(table, row, overview, answer, error, is_waiting, notes, mistake)


def ask_database(access: Access, table: Table, row: RowState) -> tuple[Answer, str, str]:
    """Compare a row with the database; also return why it is not known, and a mistake in the row id."""
    try:
        mistake = access.source(table.name).find_mistakes([row.row_id]).get(row.row_id, "")
        fetched = access.source(table.name).fetch([row.row_id])
    except (ConfigError, SourceError) as error:
        return "unknown", one_line(str(error)), ""
    if fetched.missing:
        return "missing", "", mistake
    values, errors = fetched.encoder.encode_all(fetched.rows)
    if reasons := [*fetched.errors.values(), *errors.values()]:
        return "unreadable", one_line(reasons[0]), mistake
    return "equal" if values[row.row_id] == row.value else "different", "", mistake
