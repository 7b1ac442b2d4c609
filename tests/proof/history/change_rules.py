"""Rules of a random history that change the rows wanted: by the database, the application, a foreign client."""

import json

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from proof.history.row_model import RowModel, StoredRow
from proof.history.system import TABLES

from rowcache_tasks import tasks

STORABLE = [("inv", "1"), ("inv", "2"), ("inv", "3"), ("note", "*"), ("note", "{a},%2C")]
ROWS = [*STORABLE, ("inv", "x")]
"""The last id is not a bigint: its refreshes fail for ever."""

rows = st.sampled_from(ROWS)
ALL = 15
groups = st.tuples(st.sampled_from(list(TABLES)), st.integers(1, ALL))
delays = st.sampled_from([5.0, 100_000.0])
places = st.integers(0, 5)


class ChangeRules(RuleBasedStateMachine):
    """Applies each change to the system and to the models of its rows."""

    def __init__(self, system):
        super().__init__()
        self.system = system
        self.rows = {row: RowModel() for row in ROWS}
        self.version = self.checks = 0
        self.elapsed_s = 0.0
        self.is_sound = True

    @initialize(is_scheduled=st.booleans())
    def start(self, is_scheduled):
        self.system.reset()
        for table in TABLES:
            self.store((table, ALL), is_broken=False, is_told=False)
            if is_scheduled:
                self.schedule_rows((table, ALL), 100_000.0, is_run=True)

    def of(self, table, row_ids):
        return {row_id: self.rows[table, row_id] for row_id in row_ids}

    # the database

    @rule(group=groups, is_broken=st.sampled_from([False, False, False, True]), is_told=st.booleans())
    def store(self, group, is_broken, is_told):
        self.version += 1
        for table, row_id in storable(group):
            self.system.store(table, row_id, self.version, is_broken)
            self.rows[table, row_id].store(StoredRow(self.version, is_broken))
        self.tell(group, is_told)

    @rule(group=groups, is_told=st.booleans())
    def delete(self, group, is_told):
        self.version += 1
        for row in storable(group):
            self.system.delete(*row)
            self.rows[row].delete(self.version)
        self.tell(group, is_told)

    def tell(self, group, is_told):
        """Request a refresh, as an application should after a change; is_told says whether it does."""
        if is_told:
            self.refresh_now(group, is_run=True)

    # the application: its changes may wait, run twice, in any order or never

    @rule(group=groups, delay=delays, is_run=st.booleans())
    def schedule_rows(self, group, delay, is_run):
        table, row_ids = members(group)
        if len(row_ids) == 1:
            self.enqueue(tasks.schedule_row, table, row_ids, (row_ids[0], delay), is_run)
        else:
            self.enqueue(tasks.schedule_rows, table, row_ids, (dict.fromkeys(row_ids, delay),), is_run)

    @rule(group=groups, is_run=st.booleans())
    def unschedule_rows(self, group, is_run):
        table, row_ids = members(group)
        if len(row_ids) == 1:
            self.enqueue(tasks.unschedule_row, table, row_ids, tuple(row_ids), is_run)
        else:
            self.enqueue(tasks.unschedule_rows, table, row_ids, (row_ids,), is_run)

    @rule(group=groups, is_run=st.booleans())
    def refresh_now(self, group, is_run):
        table, row_ids = members(group)
        self.enqueue(tasks.refresh_now, table, row_ids, (row_ids,), is_run)

    @rule(table=st.sampled_from(list(TABLES)), delay=delays, is_run=st.booleans())
    def schedule_table(self, table, delay, is_run):
        self.enqueue(tasks.schedule_table, table, None, (delay,), is_run)

    def enqueue(self, task, table, row_ids, arguments, is_run):
        self.system.changes.append((task, table, row_ids, arguments, float(tasks.now_stamp())))
        if is_run:
            self.run_change(-1, is_kept=False)

    @rule(place=places, is_kept=st.booleans())
    def run_change(self, place, is_kept):
        if not self.system.changes:
            return
        place %= len(self.system.changes)
        task, table, row_ids, arguments, stamp = self.system.changes[place]
        if not is_kept:
            del self.system.changes[place]
        if row_ids is None:
            row_ids = [row_id for name, row_id in STORABLE if name == table and self.rows[name, row_id].stored]
        result = task(table, *json.loads(json.dumps(arguments)), stamp=f"{stamp:.6f}")
        wanted = self.of(table, row_ids).values()
        if task is tasks.refresh_now:
            touched = [row for row in wanted if row.delay is not None]
            assert result == {"touched": len(touched), "unscheduled": len(wanted) - len(touched)}
            for row in touched:
                row.ask()
            return
        applied = [row for row in wanted if row.accepts(stamp)]
        assert result == {"applied": len(applied), "ignored": len(wanted) - len(applied)}
        for row in applied:
            if task in (tasks.unschedule_row, tasks.unschedule_rows):
                row.drop()
            else:
                delay = arguments[-1]
                row.put(delay if isinstance(delay, float) else max(delay.values()))
                row.is_asked = row.is_due = task is not tasks.schedule_table  # it spreads the first refreshes

    # a foreign client, as in the book

    @rule(row=rows, delay=st.sampled_from([5.0, 100_000.0, -1.0, 0.0, None]))
    def foreign_zadd(self, row, delay):
        table, row_id = row
        keys, wanted = self.system.keys[table], self.rows[row]
        if delay is not None:
            self.system.client.zadd(keys.delay, {row_id: delay})
        self.system.client.zadd(keys.schedule, {row_id: self.system.client.time()[0] - 1})
        if delay is None:
            wanted.touch()
        elif delay > 0:
            wanted.put(delay)
        else:
            wanted.drop(is_pending=True)


def members(group):
    """Return a table and those of its row ids whose bit is set, or all of them if none is."""
    table, bits = group
    row_ids = [row_id for name, row_id in ROWS if name == table]
    return table, [row_id for place, row_id in enumerate(row_ids) if bits >> place & 1] or row_ids


def storable(group):
    """Return the members of a group that the database can hold."""
    table, row_ids = members(group)
    return [(table, row_id) for row_id in row_ids if (table, row_id) in STORABLE]
