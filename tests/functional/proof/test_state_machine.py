"""Random histories of the public API on real servers, checked against the model in proof.history.row_model.

The same histories each time, so that nothing here is flaky. To look further, with new ones at each run:
ROWCACHE_HISTORIES=2000 .venv/bin/pytest tests/functional/proof/test_state_machine.py prints the shortest that fails.
"""

import json
import os
from contextlib import suppress

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test
from proof.history.change_rules import ROWS, ChangeRules, groups, members, places, storable
from proof.history.row_model import LEASE_S, SLACK_S
from proof.history.system import SCHEMA, TABLES, System
from support.in_process_worker import in_process_worker

from rowcache_tasks.errors import SourceError

HISTORIES = int(os.environ.get("ROWCACHE_HISTORIES", "0"))
STEPS = 40
WINDOW_S = int(LEASE_S) + 1

EVENTS = ["change", "renew", "delete", "unschedule", "replace", "foreign drop"]


class Histories(ChangeRules):
    """Dispatchers, a broker and workers act on what is wanted, as time passes.

    A rule that finds nothing to work on does nothing. With a precondition, the next draw of hypothesis would depend on
    the times of real servers, and an example could not be drawn again.
    """

    # dispatchers

    @rule(is_read=st.booleans())
    def dispatch(self, is_read):
        """Make a pass; slow workers may read the batches at once and keep them."""
        sent = self.system.dispatch()
        for message in sent:
            for row in self.of(message["table"], message["row_ids"]).values():
                row.claim(message["claim"]["lease_until"])
        for _ in sent if is_read else ():
            self.read(-1, is_kept=False)

    @rule()
    def dispatch_while_the_broker_is_away(self):
        self.system.is_broker_away = True
        with suppress(OSError):
            self.dispatch(is_read=False)
        self.system.is_broker_away = False

    # workers

    @rule(place=places, is_kept=st.booleans())
    def refresh(self, place, is_kept):
        if not self.system.messages:
            return
        message = json.loads(pick(self.system.messages, place, is_kept))
        self.note_misses(message["table"], message["row_ids"])
        self.end(message, self.system.refresh(message))

    @rule(place=places, is_kept=st.booleans())
    def read(self, place, is_kept):
        if not self.system.messages:
            return
        message = pick(self.system.messages, place, is_kept)
        self.system.reads.append((message, self.system.read(json.loads(message))))

    @rule(place=places, is_kept=st.booleans())
    def commit(self, place, is_kept):
        if not self.system.reads:
            return
        text, source = pick(self.system.reads, place, is_kept)
        message = json.loads(text)
        for row in self.of(message["table"], source.fetched.missing).values():
            row.misses += 1
        self.end(message, self.system.refresh(message, source))

    @rule(place=places)
    def refresh_while_the_database_is_away(self, place):
        if not self.system.messages:
            return
        message = json.loads(pick(self.system.messages, place, is_kept=False))
        with self.system.outage(), suppress(SourceError):  # a batch of x alone needs no database
            self.system.refresh(message)
        self.end(message, dict.fromkeys(message["row_ids"], 1))

    @rule(group=groups)
    def refresh_by_hand(self, group):
        table, row_ids = members(group)
        wanted = [row_id for row_id, row in self.of(table, row_ids).items() if row.delay is not None]
        self.note_misses(table, wanted)
        counts = self.system.refresh({"table": table, "row_ids": row_ids})
        assert len(wanted) <= sum(counts.values()) <= 2 * len(wanted)
        for row in self.of(table, wanted).values():
            row.lease, row.is_due = None, False

    def note_misses(self, table, row_ids):
        for row in self.of(table, row_ids).values():
            row.misses += row.stored is None

    def end(self, message, counts):
        rows = self.of(message["table"], message["row_ids"]).values()
        # A row that is dropped because it is missing counts twice.
        assert len(rows) <= sum(counts.values()) <= 2 * len(rows)
        for row in rows:
            row.end_claim(message["claim"]["lease_until"])

    @rule(
        group=groups,
        before=st.sampled_from(["nothing", "change", "delete"]),
        events=st.lists(st.sampled_from(EVENTS), min_size=2, max_size=5),
    )
    def be_overtaken(self, group, before, events):
        """A worker reads rows; what happens to just these rows before it commits would rarely meet by chance."""
        self.do(before, group)
        self.refresh_now(group, is_run=True)
        others = len(self.system.reads)
        self.dispatch(is_read=True)
        for event in events:
            self.do(event, group)
            self.check()
        while len(self.system.reads) > others:
            self.commit(-1, is_kept=False)
            self.check()

    def do(self, event, group):
        if event in ("change", "renew"):
            self.store(group, is_broken=False, is_told=True)
        elif event == "delete":
            self.delete(group, is_told=True)
        elif event == "foreign drop":
            for row in storable(group):
                self.foreign_zadd(row, -1.0)
        elif event in ("unschedule", "replace"):
            self.unschedule_rows(group, is_run=True)
            self.check()
        if event == "replace":
            self.schedule_rows(group, 100_000.0, is_run=True)
        elif event == "renew":
            self.serve()

    @rule()
    def serve(self):
        """Dispatchers and workers run until nothing is due. Messages from before stay in flight."""
        for _ in range(100):
            before = len(self.system.messages)
            self.dispatch(is_read=False)
            while len(self.system.messages) > before:
                self.refresh(-1, is_kept=False)
            self.check()
            if not self.system.count_due():
                break

    # time

    @rule(seconds=st.sampled_from([1, 6, 70, WINDOW_S]))
    def pass_time(self, seconds):
        self.system.pass_time(seconds)
        self.elapsed_s += seconds
        for row in self.rows.values():
            row.pass_time(seconds)

    @rule()
    def settle(self):
        """All leases end, and everything runs its course."""
        self.pass_time(WINDOW_S)
        self.serve()
        for (table, row_id), row in self.rows.items():
            expected = row.stored and {"id": int(row_id) if table == "inv" else row_id, "version": row.stored.version}
            row.check_settled(self.system.readers[table].get(row_id), expected and expected | {"share": 1.0}, WINDOW_S)

    # what holds after each step

    @invariant()
    def check(self):
        self.is_sound = False
        self.checks += 1
        for table, reader in self.system.readers.items():
            row_ids = [row_id for name, row_id in ROWS if name == table]
            now, wakes, raw = self.system.raw(table, row_ids)
            read = reader.get_many(row_ids)
            assert wakes <= 4
            for row_id, (*keys, value) in raw.items():
                row = self.rows[table, row_id]
                row.check_keys(now, *keys)
                row.check_value(value, read[row_id])
                assert read[row_id] == (value and json.loads(value))
                assert value is None or str(read[row_id]["id"]) == row_id, "a row id gives its own row"
            row_id = row_ids[self.checks % len(row_ids)]
            age = reader.age(row_id)
            assert age is None if raw[row_id][-1] is None else 0 <= age <= self.elapsed_s + SLACK_S
        self.is_sound = True

    def teardown(self):
        if self.is_sound:
            self.settle()
            self.check()


def pick(work, place, is_kept):
    """Choose a message; one that is kept is delivered again."""
    return work[place % len(work)] if is_kept else work.pop(place % len(work))


@pytest.fixture
def system(client, valkey, postgres_url, monkeypatch, tmp_path):
    settings = {"database_url": postgres_url, "tables": TABLES, "lease": LEASE_S}
    with (
        in_process_worker(monkeypatch, tmp_path, valkey.url_for(9), **settings),
        psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as database,
    ):
        database.execute(SCHEMA)
        system = System(client, database)
        yield system
        system.close()


def test_random_histories_agree_with_the_model(system, caplog):
    caplog.set_level("CRITICAL")  # a history that fails is printed without the warnings of all the others
    run_state_machine_as_test(
        lambda: Histories(system),
        settings=settings(
            max_examples=HISTORIES or 50,
            stateful_step_count=STEPS,
            derandomize=not HISTORIES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
