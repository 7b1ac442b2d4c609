import re
import sqlite3
from types import SimpleNamespace

import pytest
from celery import Celery
from click.testing import CliRunner
from sqlalchemy import make_url
from support.noted import note_both
from support.pgbouncer import PgBouncer, find_pgbouncer
from support.settings_module import write_settings
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks.config.settings import Table, parse_settings
from rowcache_tasks.ops.cli import rowcache
from rowcache_tasks.ops.doctor import examine
from rowcache_tasks.ops.doctor.redis_server import (
    clock_of,
    connections_of,
    eviction_of,
    examine_server,
    memory_of,
    persistence_of,
    version_of,
)
from rowcache_tasks.ops.doctor.table_keys import examine_keys
from rowcache_tasks.schedule.connection import connect

INV = Table("inv", "inventory")


@pytest.fixture(scope="module")
def spare():
    """A server of its own, whose configuration tests may change."""
    with Valkey() as server:
        yield server


@pytest.fixture
def configured(spare):
    """Set options of the spare server for one test; gives its client."""
    client = connect(spare.url, "test")
    before = {}

    def configured(**options):
        for name, value in options.items():
            option = name.replace("_", "-")
            before[option] = client.config_get(option)[option]
            client.config_set(option, value)
        return client

    yield configured
    for option, value in before.items():
        client.config_set(option, value)
    client.close()


@pytest.fixture
def database_url(tmp_path):
    """An SQLite file with the table inventory."""

    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE inventory (id INTEGER PRIMARY KEY, name TEXT)")
    connection.close()
    return f"sqlite:///{path}"


@pytest.fixture
def app(valkey):
    """The application with an empty broker of its own."""
    broker = connect(valkey.url_for(8), "test")
    broker.flushdb()
    broker.close()
    return Celery("rowcache_tasks", broker=valkey.broker_url(8), set_as_current=False)


@pytest.fixture
def processes(client):
    """A dispatcher and a worker, as they note themselves."""
    note_both(client)


@pytest.fixture
def report(client, valkey, app, database_url):
    """Examine a deployment; gives the lines at some levels that hold a text."""

    def report(levels="fail warn", text="", app=app, redis=client, **settings):
        raw = {
            "rowcache_redis_url": valkey.url_for(9),
            "rowcache_database_url": database_url,
            "rowcache_tables": {"inv": {"table": "inventory"}},
        }
        raw |= {f"rowcache_{name}": value for name, value in settings.items()}
        found = examine(parse_settings(raw), redis, app)
        return [f"{f.level} {f.text}" for f in found if f.level in levels.split() and text in f.text]

    return report


def server(client):
    """What is wrong with a server: level -> text."""
    return [f"{f.level} {f.text}" for f in examine_server(client, "here") if f.level != "ok"]


def keys(client):
    return [f"{f.level} {f.text}" for f in examine_keys(client, INV) if f.level != "ok"]


def test_nothing_is_wrong_with_a_healthy_deployment(report, schedule, client, processes):
    schedule.put_rows({"1": (100, 0)})
    schedule.commit_rows(schedule.claim_rows(10, 30)[0], {"1": b"{}"})
    assert report() == [
        "warn persistence: neither append-only file nor snapshots: after a crash or restart of Redis "
        "the schedule is lost: set appendonly yes"
    ]
    assert len(report("ok")) >= 14


def test_doctor_changes_nothing(report, schedule, client, processes):
    schedule.put_rows({"1": (100, 0)})
    client.zadd("delay:", {"lost": 5})

    def dump():
        return {key: client.dump(key) for key in client.keys("*")}

    before = dump()
    report()
    assert dump() == before


# The server


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_server_that_may_evict_the_schedule_is_broken(configured, policy):
    client = configured(maxmemory="100mb", maxmemory_policy=policy, appendonly="yes")
    (line,) = server(client)
    assert line.startswith(f"fail eviction: maxmemory-policy {policy} may evict the schedule (0 keys evicted so far): ")
    assert "maxmemory-policy noeviction" in line


def test_evicting_policy_without_a_limit_is_a_warning(configured):
    (line,) = server(configured(maxmemory_policy="allkeys-lru", appendonly="yes"))
    assert line.startswith(
        "warn eviction: maxmemory-policy allkeys-lru evicts the schedule as soon as maxmemory is set"
    )


def test_policy_that_spares_keys_without_a_ttl_is_fine(configured):
    assert server(configured(maxmemory="100mb", maxmemory_policy="volatile-lru", appendonly="yes")) == []


def test_policy_that_a_server_does_not_name_is_not_called_good():
    assert eviction_of({"maxmemory": 0}).level == "warn"


def test_memory_that_is_nearly_used_up_is_a_warning():
    (finding,) = memory_of({"used_memory": 95, "maxmemory": 100})
    assert (finding.level, finding.text[:33]) == ("warn", "memory: 95% of maxmemory is used;")
    assert list(memory_of({"used_memory": 50, "maxmemory": 100})) == []


def test_server_without_persistence_is_a_warning(configured):
    (line,) = server(configured(save="", appendonly="no"))
    assert line.startswith("warn persistence: neither append-only file nor snapshots: ")


@pytest.mark.parametrize("options", [{"appendonly": "yes"}, {"save": "3600 1"}])
def test_append_only_file_or_snapshots_are_persistence(configured, options):
    assert server(configured(**options)) == []


def test_commands_that_are_not_allowed_are_named_and_the_others_still_run(configured, spare, report):
    admin = configured(appendonly="no")
    admin.acl_setuser(
        "ops", enabled=True, nopass=True, categories=["+@all"], commands=["-config", "-client|list"], keys=["*"]
    )
    ops = connect(spare.url.replace("unix://", "unix://ops:x@"), "test")
    found = report(redis=ops)
    assert any("persistence: the append-only file is off and CONFIG GET save is not allowed" in line for line in found)
    admin.acl_setuser("ops", commands=["-info", "-type"])
    found = report(redis=ops)
    assert any(line.startswith("fail Redis at here refuses INFO") or "refuses INFO" in line for line in found)
    assert any(line.startswith("fail Redis refuses a command: ") for line in found)
    assert report("ok", "database", redis=ops)
    ops.close()
    admin.acl_deluser("ops")


def test_failed_write_to_disk_is_broken():

    found = list(persistence_of({"aof_enabled": 1, "aof_last_write_status": "err"}, ""))
    assert [f.level for f in found] == ["ok", "fail"]
    assert found[1].text.startswith("persistence: aof_last_write_status is err")


@pytest.mark.parametrize(("version", "level"), [("6.0.16", "fail"), ("6.2.0", "ok"), ("7.2.4", "ok"), ("10.0", "ok")])
def test_version_must_know_zmscore(version, level):
    assert version_of({"redis_version": version}).level == level


def test_node_of_a_cluster_is_broken():
    with Valkey(args=("--cluster-enabled", "yes")) as node:
        client = connect(node.url, "test")
        assert any(line.startswith("fail cluster: found cluster_enabled:1") for line in server(client))
        client.close()


def test_replica_is_broken(configured):
    client = configured(appendonly="yes")
    client.replicaof("127.0.0.1", 1)
    (line,) = server(client)
    assert line == "fail role: found slave, which refuses writes: name the primary in rowcache_redis_url"
    client.replicaof("NO", "ONE")


def test_connections_near_the_limit_are_a_warning():
    assert connections_of({"connected_clients": 85, "maxclients": 100}).level == "warn"
    assert connections_of({"connected_clients": 50, "maxclients": 100}).text == "connections: 50 of maxclients 100"


@pytest.mark.parametrize(
    ("ahead_s", "level", "words"), [(0, "ok", ""), (5, "warn", "ahead of"), (-5, "warn", "behind")]
)
def test_clock_that_differs_is_a_warning(client, ahead_s, level, words):
    shifted = SimpleNamespace(time=lambda: (client.time()[0] + ahead_s, client.time()[1]))
    finding = clock_of(shifted)
    assert finding.level == level
    assert words in finding.text


# The keys


def test_schedule_as_it_should_be_is_counted(client, schedule):
    schedule.put_rows({"1": (5, 0), "2": (5, 0)})
    (finding,) = examine_keys(client, INV)
    assert finding.text == "inv: 2 rows scheduled, schedule and delays agree (all looked at)"


def test_key_of_another_type_is_broken(client):
    client.set("schedule:", "x")
    client.set("stats:", "x")
    client.set("position:", "x")
    first, third, second = keys(client)
    assert third.startswith("fail key 'position:' is a string, it must be a zset: ")
    assert first.startswith("fail key 'schedule:' is a string, it must be a zset: another program writes there: ")
    assert second.startswith("fail key 'stats:' is a string, it must be a hash: ")


def test_lost_rows_are_broken_and_the_remedy_works(client, schedule):
    schedule.put_rows({"fine": (5, 0)})
    client.zadd("delay:", {"lost": 5, "los\nt": 5})
    (line,) = keys(client)
    assert line.startswith("fail inv: 2 rows are in 'delay:' but not in 'schedule:' and never refreshed: ")
    assert "'los\\nt'" in line
    assert "rowcache refresh inv ROW_ID…" in line
    schedule.touch_rows(["lost", "los\nt"])
    assert keys(client) == []


def test_many_lost_rows_are_counted_and_some_named(client):
    client.zadd("delay:", {f"row{n}": 5 for n in range(5000)})
    (line,) = keys(client)
    assert line.startswith("fail inv: 5,000 rows are in 'delay:' but not in 'schedule:'")
    assert line.count("row") < 12


def test_rows_that_wait_to_be_dropped_for_ever_are_a_warning(client, schedule):
    client.zadd("delay:", {"gone": -1})
    (line,) = keys(client)
    assert line.startswith("warn inv: 1 row is to be dropped and not in 'schedule:', so never dropped: gone: ")
    schedule.drop_rows(["gone"])
    assert keys(client) == []


def test_rows_without_a_delay_are_a_warning(client):
    client.zadd("schedule:", {"odd": 5})
    (line,) = keys(client)
    assert line.startswith("warn inv: 1 row is in 'schedule:' without a delay and dropped when due: odd: ")


def test_row_that_a_reader_has_filled_is_as_it_should_be(client):
    client.set("inv:1", "{}", px=60_000)
    client.zadd("schedule:", {"1": client.time()[0] + 70})
    assert keys(client) == []


def test_sample_is_bounded(client, monkeypatch):
    monkeypatch.setattr("rowcache_tasks.ops.doctor.table_keys.SAMPLE", 1000)
    client.zadd("delay:", {f"row{n}": 5 for n in range(5000)})
    (line,) = keys(client)
    assert line.startswith("fail inv: 1,000 rows are in 'delay:'")


@pytest.mark.parametrize("due", [float("inf"), 1.8e12])
def test_rows_that_are_never_due_are_broken_and_the_remedy_works(client, schedule, due):
    schedule.put_rows({"1": (5, 0), "long": (10 * 365 * 86400, 0)})
    client.zadd("schedule:", {"1": due})
    (line,) = keys(client)
    assert line.startswith(
        "fail inv: 1 row is due in more than ten years (milliseconds instead of seconds?) in 'schedule:': 1: "
    )
    schedule.put_rows({"1": (5, 0)})
    assert keys(client) == []


def test_delays_that_never_end_are_broken(client, schedule):
    schedule.put_rows({"1": (5, 0)})
    client.zadd("delay:", {"1": float("inf")})
    (line,) = keys(client)
    assert line.startswith("fail inv: 1 row is to be refreshed less than once in ten years ")


# The processes


def test_stalled_workers_are_broken_and_late_ones_a_warning(report, schedule, client, processes):
    schedule.put_rows({"1": (100, -60)})
    (line,) = report("fail", "stalled")
    assert line.startswith("fail stalled for over 30 s: inv: a row has been due for 60.")
    client.hset("state:", "committed_at", client.time()[0])
    (line,) = report("warn", "late")
    assert "rows are late: start more workers" in line


# The database and the broker


def test_database_is_checked_table_by_table(report, database_url):
    tables = {"inv": {"table": "inventory"}, "users": {"table": "users", "namespace": "users"}}
    assert report("ok", "database", tables=tables) == [
        "ok database: rowcache_tables['inv'] is 'inventory', with its key and columns"
    ]
    (line,) = report("fail", "database", tables=tables)
    assert line.startswith("fail database: rowcache_tables['users']")


def test_missing_column_is_broken(report):
    tables = {"inv": {"table": "inventory", "columns": ["id", "nmae"]}}
    (line,) = report("fail", "rowcache_tables['inv']", tables=tables)
    assert "nmae" in line


def test_database_that_is_away_is_broken_without_its_password(report):
    (line,) = report("fail", "database", database_url="postgresql+psycopg://user:secret@127.0.0.1:1/shop")
    assert line.startswith("fail database at postgresql+psycopg://***@127.0.0.1:1/shop: ")
    assert "secret" not in line


def test_replica_database_is_a_warning(report, standby):
    (line,) = report("warn", "is a replica", database_url=standby.url)
    assert line.endswith(
        ": values may go back in time: name the primary in rowcache_database_url, or set 'replica' on its tables"
    )


def test_replica_behind_the_address_of_the_primary_is_a_warning(report, postgres, standby):
    hosts = (f"host={make_url(server.url).query['host']}:5432" for server in (postgres, standby))
    url = f"postgresql+psycopg://postgres@/postgres?{'&'.join(hosts)}&load_balance_hosts=random"
    found = wait_until(lambda: report("warn", "is a replica in ", database_url=url), "both are met")
    assert re.search(r" is a replica in [123] of 4 connections, .*: values may go back in time: ", found[0])


@pytest.mark.skipif(not find_pgbouncer(), reason="needs pgbouncer (apt-get install pgbouncer)")
def test_pooler_that_shares_sessions_is_named(report, pg):
    pg.run("CREATE TABLE inventory (id bigint PRIMARY KEY, name text)")
    with PgBouncer(pg.url, size=1) as pooler:
        found = report("ok", "is a pooler that shares its sessions", database_url=pooler.url)
    assert len(found) == 1
    assert report("ok", "is a pooler", database_url=pg.url) == []


def test_wrong_database_url_is_broken(report):
    assert report("fail", "rowcache_database_url is not a URL", database_url="no url")


def test_machine_without_a_database_url_is_a_warning(report):
    assert report("warn", "rowcache_database_url is not set here", database_url=None)


def test_broker_that_is_away_is_broken_without_its_password(report):
    app = Celery("rowcache_tasks", broker="redis://:secret@127.0.0.1:1/0", set_as_current=False)
    (line,) = report("fail", "broker", app=app)
    assert line.startswith("fail broker at redis://***@127.0.0.1:1/0 cannot be reached: ")
    assert "secret" not in line


def test_broker_that_is_a_cluster_is_broken(report):
    app = Celery("rowcache_tasks", broker="redis+cluster://host", set_as_current=False)
    assert report("fail", "Celery cannot use a Redis Cluster as its broker", app=app)


def test_full_queue_is_a_warning(report, app, valkey, processes):
    broker = connect(valkey.url_for(8), "test")
    broker.rpush("rowcache.refresh", "1", "2", "3")
    broker.close()
    (line,) = report("warn", "batches wait", max_queue=3)
    assert "3 batches wait, so dispatchers pause (rowcache_max_queue is 3)" in line
    assert report("ok", "queue rowcache.refresh: 3 batches waiting, oldest unknown, 1 worker")


def test_broker_of_another_application_is_left_out(report):
    (line,) = report("warn", "broker", app=None)
    assert line.endswith("start this as celery -A rowcache_tasks rowcache doctor")


def test_redis_that_is_away_does_not_keep_the_rest_from_being_checked(report):
    away = connect("unix:///nowhere/valkey.sock", "test")
    found = report("ok fail", redis=away)
    assert sum("Redis at unix://" in line and "cannot be used" in line for line in found) == 1
    assert any(line.startswith("ok database") for line in found)
    assert any(line.startswith("ok broker") for line in found)


# The command


@pytest.fixture
def doctor(valkey, client, monkeypatch, tmp_path, app, database_url):
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), database_url=database_url)
    return lambda: CliRunner().invoke(rowcache, ["doctor"], obj=SimpleNamespace(app=app))


def test_command_prints_a_line_for_each_finding_and_fails_only_when_something_is_broken(doctor, client):
    done = doctor()
    assert done.exit_code == 0, "warnings are no failure"
    assert {line[:6] for line in done.stdout.splitlines()} == {"ok    ", "warn  "}
    assert done.stdout.splitlines()[0] == "ok    settings are valid: 1 table: inv"
    client.zadd("delay:", {"lo\x1bst": 5})
    done = doctor()
    assert done.exit_code == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fail  ") and "delay:" in line]
    assert "'lo\\x1bst'" in line
    assert done.stderr == ""
