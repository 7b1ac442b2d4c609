"""Rows of a primary and standbys that apply changes late: values never go back, and requests are honored."""

import json
import random
from dataclasses import replace

import pytest
from celery import Celery
from sqlalchemy import create_engine, make_url, text
from support.standby import Standby
from support.waiting import wait_until

from rowcache_tasks import ReadThrough, RowCache
from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.ops.problem import table_problems
from rowcache_tasks.ops.snapshot import read_snapshots
from rowcache_tasks.reader.fill import loader
from rowcache_tasks.schedule.position import need_position
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.worker.refresh import refresh_claim

ROWS = [str(n) for n in range(60)]
TOUCHED = ROWS[:30]
LAG_S = 3
ROUNDS = 50


class Shop:
    """Table with versions on all servers, and the cache of its rows."""

    def __init__(self, client, postgres, *standbys):
        self.table = Table("inv", "replicated", replica=True)
        self.client, self.schedule = client, Schedule(client, self.table)
        self.primary = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
        self.engines = [create_source_engine(each.url, statement_timeout_s=10) for each in (postgres, *standbys)]
        self.sources = [Source(engine, self.table) for engine in self.engines]
        self.url = postgres.url
        self.version = self.run("SELECT max(v) FROM replicated")
        self.seen = dict.fromkeys(ROWS, -1)
        self.reads = self.back = 0

    def run(self, statement):
        with self.primary.connect() as connection:
            result = connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None

    def change(self):
        """Change all rows; return the position after the commit."""
        self.version += 1
        self.run(f"UPDATE replicated SET v = {self.version}")
        return self.run("SELECT pg_current_wal_insert_lsn()::text")

    def touch(self, position):
        need_position(self.client, self.table, TOUCHED, position)
        self.schedule.touch_rows(TOUCHED)

    def refresh(self, source):
        """Refresh what is due; count the values that went back, and those that are older than asked for."""
        claim, _ = self.schedule.claim_rows(1000, 30)
        if claim.row_ids:
            refresh_claim(self.schedule, source, claim, Backoff())
        self.client.delete("queue:")
        for row_id, value in zip(ROWS, self.client.mget(f"inv:{row_id}" for row_id in ROWS), strict=True):
            version = json.loads(value)["v"] if value else -1
            self.reads += 1
            self.back += version < self.seen[row_id]
            if version != self.seen[row_id] and row_id in TOUCHED:
                self.back += version < self.version
            self.seen[row_id] = version

    def is_fresh(self):
        self.refresh(random.choice(self.sources[1:]))
        return set(self.seen.values()) == {self.version}

    def close(self):
        for engine in (self.primary, *self.engines):
            engine.dispose()


@pytest.fixture(scope="module")
def prompt_standby(postgres, standby, tmp_path_factory):
    """Standby that applies commits at once, unless it is paused; beside `standby`."""
    folder = tmp_path_factory.mktemp("prompt")
    folder.chmod(0o755)
    with Standby(folder / "server", postgres, delay_s=0) as server:
        yield server


@pytest.fixture
def shop(client, postgres, standby, prompt_standby):
    shop = Shop(client, postgres, standby, prompt_standby)
    yield shop
    shop.close()


def has_applied_a_commit(engine):
    with engine.connect() as connection:
        return connection.exec_driver_sql("SELECT pg_last_xact_replay_timestamp()").scalar()


def test_none_of_3000_reads_goes_back_with_one_standby_3_s_late_and_one_that_is_paused(shop, prompt_standby):
    shop.change()
    for standby in shop.engines[1:]:  # the lag of one that has applied no commit is unknown while it waits for one
        wait_until(lambda standby=standby: has_applied_a_commit(standby), "a commit is applied")
    shop.schedule.put_rows(dict.fromkeys(ROWS, (0.01, 0)))
    prompt = create_engine(prompt_standby.url, isolation_level="AUTOCOMMIT")
    for number in range(ROUNDS):
        if call := {10: "pause", 30: "resume"}.get(number):
            with prompt.connect() as connection:
                connection.exec_driver_sql(f"SELECT pg_wal_replay_{call}()")
        shop.touch(shop.change())
        shop.refresh(random.choice(shop.sources))
    prompt.dispose()
    assert int(shop.client.hget("stats:", "superseded")) > 0
    assert b"read-from-a-replica-that-is-behind" in b"".join(shop.client.lrange("outcomes:", 0, -1))
    shop.touch(shop.change())
    wait_until(shop.is_fresh, "a standby has all that was asked for")
    assert shop.reads >= 3000
    assert shop.back == 0
    lag_s = float(shop.client.hget("state:", "replica_lag_s"))
    assert 0 <= lag_s < 60
    (table,) = read_snapshots(shop.client, [replace(shop.table, replica=False)], 30)
    assert table.replica_lag_s == lag_s
    assert [finding.text for finding in table_problems(table, 60) if "from a replica" in finding.text]


def address_of(*servers):
    """Return the URL of one address that leads to one of some servers by chance."""
    url = make_url(servers[0].url)
    hosts = tuple(f"{make_url(each.url).query['host']}:{make_url(each.url).query['port']}" for each in servers)
    url = url.set(query={"host": hosts, "load_balance_hosts": "random"})
    return url.render_as_string(hide_password=False)


def test_no_read_goes_back_at_one_address_of_two_standbys_of_which_one_is_3_s_late(shop, standby, prompt_standby):
    engine = create_source_engine(address_of(standby, prompt_standby), statement_timeout_s=10, may_be_replica=True)
    source, met = Source(engine, shop.table), set()
    shop.sources = [None, source]
    shop.schedule.put_rows(dict.fromkeys(ROWS, (0.01, 0)))
    for _ in range(ROUNDS):
        engine.dispose()  # the next connection leads to any of both
        with engine.connect() as connection:
            met.add(connection.exec_driver_sql("SHOW recovery_min_apply_delay").scalar())
        shop.touch(shop.change())
        shop.refresh(source)
    assert met == {"3s", "0"}
    assert int(shop.client.hget("stats:", "superseded")) > 0
    assert int(shop.client.hget("stats:", "refreshed")) > 0
    wait_until(shop.is_fresh, "a standby has all that was asked for")
    assert shop.reads >= 3000
    assert shop.back == 0
    engine.dispose()


def test_reader_returns_a_row_that_was_read_too_early_and_does_not_cache_it(shop, valkey, standby):
    need_position(shop.client, shop.table, ["1"], "FFFFF/0")
    app = Celery(set_as_current=False)
    tables = {"inv": {"table": "replicated", "replica": True}}
    app.conf.update(rowcache_redis_url=valkey.url_for(9), rowcache_tables=tables)
    with RowCache("inv", app=app, timeout=20, read_through=ReadThrough(database_url=standby.url)) as reader:
        assert len(reader.get_many([1, 2], fill=True)) == 2
        assert reader.age(1) is None, "not cached"
        assert reader.age(2) is not None
    with RowCache("inv", app=app, timeout=20, read_through=ReadThrough(database_url=shop.url)) as reader:
        assert reader.get(1, fill=True)
        assert reader.age(1) is not None
    loader.close()
