"""A table's schedule is brought in line with the database, whatever changes meanwhile."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from support.sent_sql import record_psycopg_queries

from rowcache_tasks.config.settings import Settings, Table
from rowcache_tasks.errors import SourceError
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.table import TableState
from rowcache_tasks.worker.admission import Admission
from rowcache_tasks.worker.whole_table import GRACE_S, Reconciled, WholeTable

JSON = b'{"id":1}'


def server_time(client):
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


def nothing(*_):
    pass


class Inventory:
    """A table of the rows 1 to `count`, and a reconciliation of it."""

    def __init__(self, db, client, count=10):
        self.db, self.client = db, client
        db.run("CREATE TABLE inventory (id bigint PRIMARY KEY, stock integer)")
        numbers = ", ".join(f"({n}, 0)" for n in range(1, count + 1))
        db.run(f"INSERT INTO inventory VALUES {numbers}")
        table = Table("inv", "inventory")
        self.schedule, self.state = Schedule(client, table), TableState(client, table)
        self.source = db.source("inventory")
        self.admission = Admission(client, Settings("redis://", {"inv": table}))  # no worker: nothing is refused

    def long_ago(self, row_ids, delay=5):
        """Schedule rows as an application did before the minute of grace."""
        stamp = f"{server_time(self.client) - GRACE_S - 10:.6f}"
        self.schedule.put_rows(dict.fromkeys(row_ids, (delay, 1000)), stamp)

    def reconcile(self, delay=60, report=nothing, stamp=None):
        stamp = stamp or f"{server_time(self.client):.6f}"
        return WholeTable(self.schedule, self.state, self.source, self.admission).reconcile(delay, stamp, report)

    @property
    def delays(self):
        return {row_id.decode(): delay for row_id, delay in self.client.zrange("delay:", 0, -1, withscores=True)}

    @property
    def scheduled(self):
        return {row_id.decode() for row_id in self.client.zrange("schedule:", 0, -1)}


@pytest.fixture
def inventory(db, client):
    return Inventory(db, client)


def test_rows_that_are_not_scheduled_are_and_the_others_keep_their_delay_and_due_time(inventory, client):
    inventory.long_ago(["1", "2"])
    due = client.zmscore("schedule:", ["1", "2"])
    assert inventory.reconcile() == Reconciled(added=8, dropped=0, kept=2)
    assert inventory.delays == {"1": 5, "2": 5} | {str(n): 60 for n in range(3, 11)}
    assert client.zmscore("schedule:", ["1", "2"]) == due
    now = server_time(client)
    assert all(now - 60 <= client.zscore("schedule:", n) <= now + 60 for n in range(3, 11))
    assert inventory.reconcile() == Reconciled(added=0, dropped=0, kept=10)


def test_rows_that_the_database_does_not_have_are_dropped_values_included(inventory, client):
    inventory.long_ago(["1", "4711", "abc", "99999999999999999999", ""])
    client.mset({"inv:1": JSON, "inv:4711": JSON, "inv:5000": JSON})
    client.zadd("refreshed:", {"1": 1, "4711": 1, "5000": 1})  # 5000: what is left of a schedule that was evicted
    assert inventory.reconcile() == Reconciled(added=9, dropped=5, kept=1)
    assert inventory.scheduled == {str(n) for n in range(1, 11)}
    assert client.keys("inv:*") == [b"inv:1"]
    assert client.zrange("refreshed:", 0, -1) == [b"1"]


def test_row_id_that_is_another_text_for_a_key_is_of_its_row(inventory, client):
    inventory.long_ago(["042", "01"])
    assert inventory.reconcile() == Reconciled(added=10, dropped=1, kept=0)
    assert "01" in inventory.scheduled
    assert "042" not in inventory.scheduled


def test_row_that_is_in_delay_only_is_scheduled_again_or_dropped(inventory, client):
    client.zadd("delay:", {"1": 5, "4711": 5})
    assert inventory.reconcile() == Reconciled(added=10, dropped=1, kept=0)
    assert inventory.scheduled == set(inventory.delays) == {str(n) for n in range(1, 11)}


def test_row_scheduled_just_before_its_transaction_commits_is_kept(inventory, client):
    inventory.schedule.put_rows({"4711": (5, 0)})
    assert inventory.reconcile() == Reconciled(added=10, dropped=0, kept=1)
    assert inventory.delays["4711"] == 5


def test_row_scheduled_while_it_runs_is_kept_with_the_delay_of_the_application(inventory, client):
    def report(compared, added, dropped):
        inventory.schedule.put_rows({"4711": (5, 0), "3": (7, 0)})

    inventory.reconcile(report=report)
    assert inventory.delays["4711"] == 5
    assert inventory.delays["3"] == 7
    inventory.reconcile(delay=90, report=report)
    assert inventory.delays["3"] == 7


def test_row_dropped_after_it_was_enqueued_is_not_brought_back(inventory, client):
    stamp = f"{server_time(client):.6f}"
    inventory.schedule.drop_rows(["3"])
    assert inventory.reconcile(stamp=stamp) == Reconciled(added=9, dropped=0, kept=0)
    assert "3" not in inventory.scheduled
    assert inventory.reconcile().added == 1, "a later one schedules it"


def test_row_that_a_foreign_client_is_about_to_drop_is_left_to_the_dispatcher(inventory, client):
    client.zadd("delay:", {"3": -1})
    client.zadd("schedule:", {"3": 1})
    inventory.reconcile()
    assert inventory.delays["3"] == -1
    inventory.schedule.claim_rows(1, 30)
    assert "3" not in inventory.scheduled


def test_database_that_fails_half_way_drops_nothing_wrong_and_the_next_run_finishes(db, client):
    inventory = Inventory(db, client, count=500)
    inventory.long_ago([str(n) for n in range(400, 1500)])
    calls = []

    def report(compared, added, dropped):
        calls.append(dropped)
        if dropped:
            db.run("ALTER TABLE inventory RENAME TO gone")

    with pytest.raises(SourceError, match="no table or view 'inventory'"):
        inventory.reconcile(report=report)
    assert 0 < calls[-1] < 999
    assert {str(n) for n in range(1, 501)} <= inventory.scheduled
    db.run("ALTER TABLE gone RENAME TO inventory")
    found = inventory.reconcile()
    assert found.dropped + calls[-1] == 999
    assert inventory.scheduled == {str(n) for n in range(1, 501)}


def test_existence_of_a_batch_is_one_select_of_keys_alone(pg, client):
    inventory = Inventory(pg, client, count=300)
    inventory.source.load()
    sent = record_psycopg_queries(inventory.source._engine)
    missing = inventory.source.find_missing([str(n) for n in range(200, 400)])
    assert missing == [str(n) for n in range(301, 400)]
    assert len(sent) == 1
    assert "stock" not in sent[0]
    assert inventory.source.find_missing([str(n) for n in range(1, 201)]) == []
    assert len(sent) == 2


def test_two_at_once_do_what_one_does(pg, valkey, client):
    inventory = Inventory(pg, client, count=2000)
    inventory.long_ago([str(n) for n in range(1500, 3000)])
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(inventory.reconcile) for _ in range(2)]:
            done.result(60)
    assert inventory.scheduled == set(inventory.delays) == {str(n) for n in range(1, 2001)}


def test_table_without_a_row_drops_nothing(pg, client):
    inventory = Inventory(pg, client, count=1)
    pg.run("DELETE FROM inventory")
    inventory.long_ago(["1", "2"])
    with pytest.raises(SourceError, match="has no row, so nothing was dropped: if that is right, drop the table"):
        inventory.reconcile()
    assert inventory.scheduled == {"1", "2"}
