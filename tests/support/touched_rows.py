"""Rows scheduled for later; a touched row is due now, and so can be listed."""

from support.orm_models import TABLES

from rowcache_tasks.config.settings import parse_tables
from rowcache_tasks.schedule.rows import Schedule

LATER_S = 1000


class TouchedRows:
    """Schedules of the tables of support.orm_models."""

    def __init__(self, client):
        self.client = client
        self.tables = parse_tables("tables", TABLES)

    def schedule(self, table, *row_ids):
        Schedule(self.client, self.tables[table]).put_rows(dict.fromkeys(row_ids, (3600, LATER_S)))

    def touched(self):
        """Return the rows touched since the last call, table -> row ids, and schedule them for later again."""
        now = self.client.time()[0]
        found = {}
        for name, table in self.tables.items():
            if due := sorted(row.decode() for row in self.client.zrangebyscore(table.keys.schedule, "-inf", now + 1)):
                found[name] = due
                self.client.zadd(table.keys.schedule, dict.fromkeys(due, now + LATER_S), xx=True)
        return found
