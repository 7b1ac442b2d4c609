"""Own what status shows: one reading of all tables and the queue, and what changed since the reading before."""

import math
from dataclasses import dataclass, field
from typing import Any

from rowcache_tasks.ops.cli.session import Session
from rowcache_tasks.ops.health import Health, default_max_overdue_s, read_health
from rowcache_tasks.ops.status import Snapshot, percentile, read_snapshot

__all__ = ["Reading", "TableReading", "read_status"]


@dataclass(frozen=True, slots=True)
class TableReading:
    """One table, and how it was at the reading before; None: this is the first."""

    now: Snapshot
    before: Snapshot | None
    health: Health
    is_stalled: bool

    @property
    def rate(self) -> float | None:
        """Commits a second since the reading before; None without one, or when the statistics were reset since."""
        if self.before is None or self.now.at <= self.before.at or self.now.committed < self.before.committed:
            return None
        return (self.now.committed - self.before.committed) / (self.now.at - self.before.at)

    def late_ms(self, share: float) -> float | None:
        """Give the lateness that `share` of the rows kept, since the reading before or since statistics began."""
        return percentile(self.before.lateness if self.before else {}, self.now.lateness, share)

    def as_json(self) -> dict[str, Any]:
        """Give every number for scripts; null: not known."""
        now = self.now
        numbers = {
            "scheduled": now.scheduled,
            "overdue": now.overdue,
            "overdue_s": now.overdue_s,
            "waiting_s": self.health.waiting_s,
            "failing": now.failing,
            "committed": now.committed,
            "rate": self.rate,
            "late_p50_ms": self.late_ms(0.5),
            "late_p99_ms": self.late_ms(0.99),
            "committed_at": now.committed_at,
            "paused_at": now.paused_at,
            "stalled": self.is_stalled,
            **now.counters,
        }
        # A due time of a foreign client may be infinite, which JSON cannot say.
        return {name: value if value is None or math.isfinite(value) else None for name, value in numbers.items()}


@dataclass(frozen=True, slots=True)
class Reading:
    """All tables at one moment."""

    at: float = 0.0
    """By the server's clock; Unix time, seconds."""
    tables: dict[str, TableReading] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Give the reading for scripts; the queue comes from another server and is added by the caller."""
        return {"at": self.at, "tables": {name: table.as_json() for name, table in self.tables.items()}}


def read_status(session: Session, before: Reading | None) -> Reading:
    """Read all tables; two round trips for each and two more."""
    tables = session.settings.tables.values()
    limit_s = default_max_overdue_s(session.settings)
    found = {}
    for table, health in zip(tables, read_health(session.client, tables, session.settings.lease_s), strict=True):
        last = before.tables.get(table.name) if before else None
        now = read_snapshot(session.client, table)
        found[table.name] = TableReading(now, last.now if last else None, health, health.is_stalled(limit_s))
    return Reading(max(table.now.at for table in found.values()), found)
