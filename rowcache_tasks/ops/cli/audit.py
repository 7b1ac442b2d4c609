"""Command audit: cached rows compared with the database."""

import time
from collections import Counter
from typing import Any

import click
import redis

from rowcache_tasks.errors.text import one_line, show_count, show_duration, show_text
from rowcache_tasks.ops.cli.access import Access
from rowcache_tasks.ops.cli.command import Result, TableCommand, command, number_option, show_progress
from rowcache_tasks.ops.overview import Overview, read_overview
from rowcache_tasks.ops.reason import Reason, reason_of
from rowcache_tasks.schedule.row_state import finite
from rowcache_tasks.worker.audit import WRONG, Compared, Judge, Kind, audit_table

OVERVIEW_S = 2.0  # the state of the deployment is read again after this time, for the causes
TITLES: dict[Kind, str] = {
    "equal": "equal",
    "older_within_interval": "older, within their interval",
    "older_than_promised": "older than promised",
    "missing": "missing",
    "should_not_be_there": "should not be there",
    "unreadable": "cannot be read from the database",
    "changing": "not compared: refreshed meanwhile",
}


@command("audit inv --sample 5000", cls=TableCommand)
@number_option(
    "--sample", 1, 1000, "Rows to compare, chosen by chance; all, and values without a row, if there are no more."
)
@number_option("--grace", 0, 1.0, "How much older than its interval a value may be.", "SECONDS")
@number_option("--limit", 0, 100, "Rows to list.")
def audit(access: Access, table: str, sample: int, grace: float, limit: int) -> Result:
    """Compare cached rows of TABLE with the database. Names those that are wrong. Changes nothing.

    Exit status 1 if a row is older than promised, missing, should not be there, or cannot be read.
    """
    found = Audit(access, table, grace, limit)
    found.run(sample)
    return Result(found.lines(), found.as_json(), is_good=not found.wrong)


def compared_text(compared: Compared, reason: Reason) -> str:
    """Return the cause of a difference in one line."""
    gone = "the database has no such row: " if compared.in_database is False else ""
    return one_line(compared.error or gone + reason.text)


class Audit:
    """Comparison of a sample: counts, and the first rows that differ."""

    def __init__(self, access: Access, table: str, grace_s: float, limit: int) -> None:
        self._access = access
        self._limit = limit
        self.table = access.settings.table(table)
        self._judge = Judge(self.table, access.settings.lease_s, grace_s)
        self.counts: Counter[Kind] = Counter()
        self._overview_read: Overview | None = None
        self._overview_at = 0.0
        self.listed: list[tuple[Compared, Reason]] = []

    def run(self, sample: int) -> None:
        """Compare up to `sample` rows."""
        source = self._access.source(self.table.name)
        source.load()
        scheduled = self._access.table_state(self.table.name).count_rows()
        with show_progress(f"{self.table.name}: comparing", min(sample, scheduled)) as report:
            try:
                for compared in audit_table(self._access.client, source, self._judge, sample, is_scanning=True):
                    self._add(compared)
                    report(self.counts.total())
            except redis.exceptions.NoPermissionError as error:
                if "'scan'" not in str(error):
                    raise
                click.echo("values without a row were not looked for: SCAN is for the administrator", err=True)

    def _add(self, compared: Compared) -> None:
        self.counts[compared.kind] += 1
        if compared.kind in {"equal", "changing"}:
            return
        # Rows that are wrong come first.
        is_wrong = compared.kind in WRONG
        if len(self.listed) >= self._limit:
            if not is_wrong or not self.listed or self.listed[-1][0].kind in WRONG:
                return
            self.listed.pop()
        reason = reason_of(compared.row, self._overview(), self.table)
        self.listed.insert(0 if is_wrong else len(self.listed), (compared, reason))

    def _overview(self) -> Overview:
        """Return the state of the deployment, as it was up to OVERVIEW_S ago."""
        access = self._access
        if self._overview_read is None or time.monotonic() - self._overview_at > OVERVIEW_S:
            self._overview_read = read_overview(access.client, access.settings, access.broker, with_clients=False)
            self._overview_at = time.monotonic()
        return self._overview_read

    @property
    def compared(self) -> int:
        """Rows that were compared."""
        return self.counts.total() - self.counts["changing"]

    @property
    def wrong(self) -> int:
        """Rows that are wrong."""
        return sum(self.counts[kind] for kind in WRONG)

    def as_json(self) -> dict[str, Any]:
        """Return every figure. `consistent`: share of the compared rows that are not wrong."""
        return {
            "compared": self.compared,
            "wrong": self.wrong,
            "consistent": 1 - self.wrong / self.compared if self.compared else None,
            **{kind: self.counts[kind] for kind in TITLES},
            "rows": [
                {
                    "row_id": compared.row.row_id,
                    "kind": compared.kind,
                    "age": finite(compared.row.age),
                    "delay": finite(compared.row.delay),
                    "cause": reason.name,
                    "text": compared_text(compared, reason),
                }
                for compared, reason in self.listed
            ],
        }

    def lines(self) -> list[str]:
        """Return the counts, then the rows that are wrong."""
        lines = [f"{self.table.name}: {show_count(self.compared, 'row')} compared with the database"]
        lines += [f"  {title:<34}{self.counts[kind]:>10,}" for kind, title in TITLES.items()]
        for compared, reason in self.listed:
            if compared.kind in WRONG:
                row = compared.row
                age = "" if row.age is None else f", {show_duration(row.age)} old"
                title, why = TITLES[compared.kind], compared_text(compared, reason)
                lines.append(f"row {show_text(row.row_id)}: {title}{age}: {why}")
        return lines
