from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from support.settings_module import write_settings

from rowcache_tasks.ops.cli import rowcache


@pytest.fixture
def run(client, valkey, monkeypatch, tmp_path, db):
    """Run `rowcache follow` in this process, on a table without rows."""
    db.run("CREATE TABLE inventory (id integer PRIMARY KEY, updated_at timestamp)")
    write_settings(monkeypatch, tmp_path, valkey.url_for(9), database_url=db.url)
    return lambda *arguments: CliRunner().invoke(rowcache, ["follow", *arguments], obj=SimpleNamespace(app=None))


def test_mistyped_table_or_column_is_one_line_and_status_2(run):
    for arguments, found in (
        (("nope", "--column", "updated_at"), "rowcache_tasks: table 'nope' is not in rowcache_tables: found 'inv'"),
        (("inv", "--column", "update_at"), "column 'update_at' is not in 'inventory': did you mean updated_at?"),
        (("inv", "--source", "watermark"), "the column is not given, and rowcache_tables['inv'] has no version"),
    ):
        done = run(*arguments)
        assert done.exit_code == 2, done.output
        assert found in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert "follow inv --column updated_at" in run("--help").stdout


def test_notifications_that_cannot_work_are_one_line(run, db):
    is_sqlite = "sqlite" in db.url
    found = "is not in PostgreSQL: follow it by a column" if is_sqlite else "no trigger that notifies of insert"
    done = run("inv", "--source", "notify")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2 if is_sqlite else 1, 1)
    assert found in done.stderr
    done = run("inv", "--sql")
    assert ("CREATE TRIGGER" in done.stdout) is not is_sqlite


def test_slot_that_cannot_be_used_is_one_line(run, db):
    is_sqlite = "sqlite" in db.url
    found = "is not in PostgreSQL: follow it by a column" if is_sqlite else "there is no replication slot rowcache"
    done = run("inv", "--source", "slot")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2 if is_sqlite else 1, 1)
    assert found in done.stderr
    done = run("inv", "--slot", "Its name")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "--slot is 'Its name': a slot has a name of a-z, 0-9 and _" in done.stderr
    done = run("inv", "--column", "id", "--sql")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--sql is for triggers and slots" in done.stderr
    done = run("inv", "--source", "slot", "--sql")
    assert ("CREATE PUBLICATION rowcache FOR TABLE inventory;" in done.stdout) is not is_sqlite
