"""Changed rows by a logical replication slot, in a PostgreSQL with wal_level=logical."""

import re
from itertools import chain

import pytest
from support.scratch_database import ScratchDatabase

from demo.servers import Postgres
from rowcache_tasks.config.settings import Table
from rowcache_tasks.database import slot as module
from rowcache_tasks.database.slot import Slot
from rowcache_tasks.database.source import Source
from rowcache_tasks.errors import ConfigError, SourceError
from rowcache_tasks.ops.doctor import source_tables
from rowcache_tasks.ops.doctor.source_tables import examine_server_kind


@pytest.fixture(scope="module")
def logical():
    with Postgres(args=("-c", "wal_level=logical")) as server:
        yield server


@pytest.fixture
def shop(logical):
    """Empty database; the slot of the last test is gone."""
    database = ScratchDatabase(logical.url)
    database.run(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots",
        "DROP PUBLICATION IF EXISTS rowcache",
        "DROP SCHEMA public CASCADE",
        'DROP SCHEMA IF EXISTS "the App" CASCADE',
        "CREATE SCHEMA public",
    )
    yield database
    database.close()


@pytest.fixture
def follow(shop):
    """Function that makes slot and publication of tables; `changes()` of its result has the changes of a pass."""

    def follow(*names, **options):
        tables = [Table(name, name, **options) for name in names]
        slot = Slot(shop.engine(), tables, "rowcache")
        shop.run(*slot.sql().splitlines())
        slot.check()
        return slot

    return follow


def changes(slot):
    found = set()
    for page in slot.changes():
        for name, row_ids in page:
            found |= {(name, row_id) for row_id in (["?"] if row_ids is None else row_ids)}
    return found


def test_each_change_is_read_until_it_was_applied(shop, follow):
    shop.run("CREATE TABLE stock (id integer PRIMARY KEY, n integer)", "CREATE TABLE other (id integer PRIMARY KEY)")
    slot = follow("stock", "other")
    shop.run("INSERT INTO stock VALUES (1, 0), (2, 0)", "INSERT INTO other VALUES (7)")
    for _ in range(2):
        pages = slot.changes()
        assert sorted(next(pages)[0][1]) == ["1", "2"]
        pages.close()  # a process that dies before it has applied them
    assert changes(slot) == {("stock", "1"), ("stock", "2"), ("other", "7")}
    assert changes(slot) == set()
    shop.run(
        "UPDATE stock SET n = 1 WHERE id = 2",
        "UPDATE stock SET id = 3 WHERE id = 1",
        "DELETE FROM other",
    )
    assert changes(slot) == {("stock", "1"), ("stock", "2"), ("stock", "3"), ("other", "7")}
    shop.run("TRUNCATE stock")
    assert changes(slot) == {("stock", "?")}


def test_transaction_that_commits_late_and_one_that_is_rolled_back(shop, follow):
    shop.run("CREATE TABLE stock (id integer PRIMARY KEY)")
    slot = follow("stock")
    with shop.engine().connect() as late, shop.engine().connect() as never:
        for connection, number in ((late, 1), (never, 2)):
            connection.exec_driver_sql("BEGIN READ WRITE")
            connection.exec_driver_sql(f"INSERT INTO stock VALUES ({number})")
        shop.run("INSERT INTO stock VALUES (3)")
        assert changes(slot) == {("stock", "3")}
        late.exec_driver_sql("COMMIT")
        never.exec_driver_sql("ROLLBACK")
    assert changes(slot) == {("stock", "1")}


@pytest.mark.parametrize(
    ("sql_type", "literal"),
    [
        ("timestamptz", "'2026-11-30 10:00:00.5+02'"),
        ("numeric", "1.50"),
        ("bytea", r"decode(repeat('00ff10', 50), 'hex')"),
        ("boolean", "true"),
        ("uuid", "'6BA7B810-9DAD-11D1-80B4-00C04FD430C8'"),
        ("inet", "'10.0.0.1'"),
        ("char(5)", "'ab'"),
        ("text", "'a,b%☃\"\\'"),
        ("date", "'infinity'"),
        ("bigint", "-5"),
    ],
)
def test_row_id_is_that_of_a_scan(shop, follow, sql_type, literal):
    shop.run(
        'CREATE SCHEMA "the App"',
        f'CREATE TABLE "the App"."a % Table" (n int, "the Key" {sql_type}, part int, PRIMARY KEY (part, "the Key"))',
    )
    table = Table("inv", "a % Table", schema="the App")
    slot = Slot(shop.engine(), [table], "rowcache")
    shop.run(*slot.sql().splitlines())
    slot.check()
    shop.run("SET datestyle = 'German'", f'INSERT INTO "the App"."a % Table" VALUES (0, {literal}, 1)')
    ((expected,),) = Source(shop.engine(), table).stream_row_ids(10)
    assert changes(slot) == {("inv", expected)}


def test_partitions_and_keys_that_are_not_sent(shop, follow):
    shop.run(
        "CREATE TABLE parts (id integer PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE stock (id integer PRIMARY KEY, code integer NOT NULL)",
    )
    slot = follow("parts")
    shop.run("INSERT INTO parts VALUES (3)")
    assert changes(slot) == {("parts", "3")}
    shop.run("CREATE TABLE high PARTITION OF parts FOR VALUES FROM (10) TO (20)", "INSERT INTO parts VALUES (13)")
    assert changes(slot) == {("parts", "13")}
    shop.run("ALTER PUBLICATION rowcache ADD TABLE stock")
    by_code = Slot(shop.engine(), [Table("stock", "stock", key=("code",))], "rowcache")
    shop.run("INSERT INTO stock VALUES (1, 77)", "DELETE FROM stock")
    assert changes(by_code) == {("stock", "77"), ("stock", "?")}


def test_large_transaction_is_read_in_pages_and_many_in_looks(shop, follow, monkeypatch):
    monkeypatch.setattr(module, "PEEK", 50)
    shop.run("CREATE TABLE stock (id integer PRIMARY KEY)")
    slot, looks = follow("stock"), []
    monkeypatch.setattr(slot, "_peek", lambda until, peek=slot._peek: looks.append(until) or peek(until))
    shop.run("INSERT INTO stock SELECT generate_series(1, 5000)")
    shop.run(*(f"INSERT INTO stock VALUES ({n})" for n in range(5001, 5041)))
    pages = [page[0][1] for page in slot.changes()]
    assert max(map(len, pages)) <= 1000
    assert sorted(map(int, chain.from_iterable(pages))) == [*range(1, 5041)]
    assert len(looks) > 3
    assert changes(slot) == set()


def test_two_followers_of_one_slot_lose_nothing_together(shop, follow):
    shop.run("CREATE TABLE stock (id integer PRIMARY KEY)")
    one = follow("stock")
    two = Slot(shop.engine(), [Table("stock", "stock")], "rowcache")
    seen = set()
    for number in range(20):
        shop.run(f"INSERT INTO stock VALUES ({number})")
        pages = one.changes()
        next(pages, None)
        seen |= changes(two)
        pages.close()
    assert seen == {("stock", str(number)) for number in range(20)}


def test_log_that_a_slot_holds_back_is_a_warning_of_doctor(shop, follow, monkeypatch):
    shop.run("CREATE TABLE stock (id integer PRIMARY KEY)")
    follow("stock")
    monkeypatch.setattr(source_tables, "HELD_BYTES", 10_000_000)
    assert [*examine_server_kind(shop.engine(), "a server", "rowcache_database_url", may_be_replica=False)] == []
    monkeypatch.setattr(source_tables, "HELD_BYTES", 0)
    shop.run("INSERT INTO stock SELECT generate_series(1, 20000)")
    (found,) = examine_server_kind(shop.engine(), "a server", "rowcache_database_url", may_be_replica=False)
    assert found.level == "warn"
    assert re.match(r"database at a server: replication slot rowcache holds back \d\.\d MB of its log: ", found.text)
    assert found.text.endswith("or drop it: SELECT pg_drop_replication_slot('rowcache')")


def test_what_is_not_there_is_one_line(shop, follow):
    shop.run("CREATE TABLE stock (id integer PRIMARY KEY)", "CREATE TABLE other (id integer PRIMARY KEY)")
    slot = Slot(shop.engine(), [Table("inv", "stock")], "rowcache")
    with pytest.raises(ConfigError, match="there is no replication slot rowcache: print the SQL with"):
        slot.check()
    shop.run("SELECT pg_create_logical_replication_slot('rowcache', 'pgoutput')")
    with pytest.raises(ConfigError, match="there is no publication rowcache: "):
        slot.check()
    shop.run("CREATE PUBLICATION rowcache FOR TABLE other")
    with pytest.raises(ConfigError, match="publication rowcache has no table stock: ALTER PUBLICATION"):
        slot.check()
    shop.run("ALTER PUBLICATION rowcache ADD TABLE stock")
    slot.check()
    shop.run("SELECT pg_drop_replication_slot('rowcache')", "INSERT INTO stock VALUES (1)")
    with pytest.raises(SourceError, match='replication slot "rowcache" does not exist'):
        changes(slot)
    shop.run("SELECT pg_create_logical_replication_slot('rowcache', 'test_decoding')")
    with pytest.raises(ConfigError, match="must be of pgoutput"):
        slot.check()
