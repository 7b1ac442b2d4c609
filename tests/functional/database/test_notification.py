"""Changed rows by the notifications of triggers, in PostgreSQL."""

import pytest
from support.pgbouncer import PgBouncer, find_pgbouncer
from support.waiting import wait_until

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database import notification
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.notification import Listener, NotifyingTable
from rowcache_tasks.errors import ArgumentError, ConfigError, SourceError


@pytest.fixture
def listen(pg):
    """Function that installs the triggers of tables and listens: `changes(n)` waits for n notifications."""
    listeners = []

    def listen(*names, **options):
        engine = pg.engine()
        tables = [NotifyingTable(engine, Table(name, name, **options)) for name in names]
        for table in tables:
            pg.run(table.sql())
        listener = Listener(engine, tables)
        listener.open()
        listeners.append(listener)

        def changes(count):
            found = []
            wait_until(lambda: found.extend(listener.wait(1)) or len(found) >= count, "the notifications have arrived")
            return [(name, listener.row_ids(name, payload)) for name, _, payload in found]

        return changes

    yield listen
    for listener in listeners:
        listener.close()


def test_rows_of_each_kind_of_statement_are_notified(pg, listen):
    pg.run("CREATE TABLE stock (id integer PRIMARY KEY, n integer)", "CREATE TABLE other (id integer PRIMARY KEY)")
    changes = listen("stock", "other")
    pg.run(
        "INSERT INTO stock VALUES (1, 0), (2, 0)",
        "UPDATE stock SET n = 1 WHERE id = 2",
        "UPDATE stock SET id = 3 WHERE id = 2",
        "UPDATE stock SET n = 1 WHERE id = 99",
        "DELETE FROM stock WHERE id = 1",
        "INSERT INTO other VALUES (7)",
        "INSERT INTO stock VALUES (3, 5) ON CONFLICT (id) DO UPDATE SET n = excluded.n",
        "TRUNCATE stock",
    )
    found = [(name, row_ids and sorted(row_ids)) for name, row_ids in changes(7)]
    assert found[:5] == [
        ("stock", ["1", "2"]),
        ("stock", ["2"]),
        ("stock", ["2", "3"]),
        ("stock", ["1"]),
        ("other", ["7"]),
    ]
    assert found[5:] == [("stock", ["3"]), ("stock", None)]


@pytest.mark.parametrize(
    ("sql_type", "literal"),
    [
        ("timestamptz", "'2026-11-30 10:00:00.5+02'"),
        ("timestamp", "'2026-11-30 10:00:00'"),
        ("numeric", "1.50"),
        ("bytea", r"decode(repeat('00ff10', 50), 'hex')"),
        ("boolean", "true"),
        ("uuid", "'6BA7B810-9DAD-11D1-80B4-00C04FD430C8'"),
        ("inet", "'10.0.0.1'"),
        ("char(5)", "'ab'"),
        ("text", "'a,b%☃\"\\'"),
        ("date", "'infinity'"),
    ],
)
def test_row_id_is_that_of_a_scan(pg, listen, sql_type, literal):
    pg.run(f'CREATE TABLE stock (part integer, "the %Key" {sql_type}, PRIMARY KEY (part, "the %Key"))')
    changes = listen("stock")
    pg.run("SET datestyle = 'German'", f"INSERT INTO stock VALUES (1, {literal})")
    (expected,) = pg.source("stock").stream_row_ids(10)
    assert changes(1) == [("stock", expected)]


def test_many_rows_are_several_notifications_or_one_without_ids(pg, listen):
    pg.run("CREATE TABLE stock (id text PRIMARY KEY)")
    changes = listen("stock")
    pg.run("INSERT INTO stock SELECT lpad(n::text, 100, 'x') FROM generate_series(1, 1000) n")
    found = changes(14)
    assert len({row_id for _, row_ids in found for row_id in row_ids}) == 1000
    pg.run(
        "INSERT INTO stock SELECT 'y' || n FROM generate_series(1, 1001) n", "INSERT INTO stock SELECT repeat('z', 99)"
    )
    assert changes(2) == [("stock", None), ("stock", ["z" * 99])]


def test_statement_that_cannot_be_notified_by_id_does_not_fail(pg, listen):
    pg.run("CREATE TABLE stock (id text, n integer)")
    changes = listen("stock", key=("id",))
    pg.run("INSERT INTO stock VALUES (repeat('x', 9000), 0), ('1', 0), (NULL, 0)")
    assert sorted(changes(2), key=str) == [("stock", None), ("stock", ["1"])]


def test_missing_trigger_view_and_pooler_are_one_line(pg, listen):
    pg.run("CREATE TABLE stock (id integer PRIMARY KEY)", "CREATE VIEW seen AS SELECT * FROM stock")
    table = NotifyingTable(pg.engine(), Table("inv", "stock"))
    with pytest.raises(ConfigError, match="'stock' has no trigger that notifies of insert, update, delete, truncate"):
        Listener(pg.engine(), [table]).open()
    pg.run(table.sql(), table.sql(), "ALTER TABLE stock DISABLE TRIGGER rowcache_inv_delete")
    with pytest.raises(ConfigError, match="notifies of delete: print the SQL with `rowcache follow inv --sql`"):
        Listener(pg.engine(), [table]).open()
    with pytest.raises(ArgumentError, match="'seen' is a view or a foreign table"):
        NotifyingTable(pg.engine(), Table("inv", "seen", key=("id",))).sql()
    if not find_pgbouncer():
        pytest.skip("needs PgBouncer (Debian: apt install pgbouncer)")
    pg.run(table.sql())
    with PgBouncer(pg.url, size=2) as pooler:
        engine = create_source_engine(pooler.url, statement_timeout_s=10)
        with pytest.raises(ConfigError, match="leads to a pooler that shares its sessions"):
            Listener(engine, [NotifyingTable(engine, Table("inv", "stock"))]).open()
        engine.dispose()


def test_connection_that_receives_nothing_is_noticed(pg, monkeypatch):
    monkeypatch.setattr(notification, "PONG_S", -60)
    pg.run("CREATE TABLE stock (id integer PRIMARY KEY)")
    table = NotifyingTable(pg.engine(), Table("inv", "stock"))
    pg.run(table.sql())
    listener = Listener(pg.engine(), [table])
    listener.open()
    listener.wait(60)  # our own notification
    assert listener.wait(0) == []
    monkeypatch.setattr(notification, "PING_S", -60)
    listener._connection.execute("UNLISTEN *")
    with pytest.raises(SourceError, match="no notification arrives"):
        listener.wait(0)
    listener.close()


def test_trigger_that_is_gone_is_noticed_while_changes_are_followed(pg, monkeypatch):
    pg.run("CREATE TABLE stock (id integer PRIMARY KEY)")
    table = NotifyingTable(pg.engine(), Table("inv", "stock"))
    pg.run(table.sql())
    listener = Listener(pg.engine(), [table])
    listener.open()
    pg.run("ALTER TABLE stock DISABLE TRIGGER rowcache_inv_update")
    list(listener.wait(0))
    monkeypatch.setattr(notification, "PING_S", -60)
    with pytest.raises(ConfigError, match="'stock' has no trigger that notifies of update"):
        list(listener.wait(0))
    listener.close()


def test_lost_connection_is_an_error_and_can_be_opened_again(pg):
    pg.run("CREATE TABLE stock (id integer PRIMARY KEY)")
    table = NotifyingTable(pg.engine(), Table("inv", "stock"))
    pg.run(table.sql())
    listener = Listener(pg.engine(), [table])
    listener.open()
    pg.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query ~ 'LISTEN'")
    with pytest.raises(SourceError, match="cannot read 'stock'"):
        wait_until(lambda: listener.wait(1) and False, "the loss is noticed")
    listener.close()
    listener.open()
    pg.run("INSERT INTO stock VALUES (1)")
    wait_until(lambda: [payload for *_, payload in listener.wait(1)] == ['[["1"]]'], "the change is notified")
    listener.close()
