"""Refresh of a table with a version: rows whose version is that of the cached value are not read."""

import json
from types import SimpleNamespace

import pytest

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.worker import read_rows
from rowcache_tasks.worker.refresh import refresh_claim

DOC = (
    "CREATE TABLE doc (shelf integer, slot varchar(9), body text, at timestamp, PRIMARY KEY (shelf, slot))",
    "INSERT INTO doc VALUES (1, 'a', 'first', '2026-11-22 19:39:19.5'), (1, 'b', 'first', NULL)",
)


@pytest.fixture
def doc(db, client, monkeypatch):
    """Table with a version: `source`, `schedule`, and `refresh(row ids…)`, which claims and refreshes."""
    monkeypatch.setattr(read_rows, "FULL_SHARE", 0)
    db.run(*DOC)
    table = Table("inv", "doc", version="at")
    source, schedule = db.source("doc", version="at"), Schedule(client, table)

    def run(*row_ids, source=source):
        schedule.put_rows(dict.fromkeys(row_ids, (100, 0)))
        counts = refresh_claim(schedule, source, schedule.claim_rows(10, 30)[0], Backoff())
        return {name: count for name, count in counts.items() if count}

    def age():
        """Let the columns have been noted long ago."""
        client.hset("state:", "shape_at", client.time()[0] - 1000)

    yield SimpleNamespace(source=source, schedule=schedule, refresh=run, age=age, body=lambda: body(client))
    db.run("DROP TABLE doc")


def body(client, row_id="1,a"):
    return json.loads(client.get(f"inv:{row_id}"))["body"]


def test_row_with_the_version_of_its_cached_value_is_not_read_and_counts_as_refreshed(doc, db, client):
    assert doc.refresh("1,a") == {"refreshed": 1}
    assert list(json.loads(client.get("inv:1,a"))) == ["at", "shelf", "slot", "body"]
    doc.age()
    db.run("UPDATE doc SET body = 'second'")
    before = client.zscore("refreshed:", "1,a")
    assert doc.refresh("1,a") == {"unchanged": 1}
    assert doc.body() == "first", "the version has not changed"
    assert client.zscore("refreshed:", "1,a") > before
    db.run("UPDATE doc SET at = '2026-11-22 19:39:19.6'")
    assert doc.refresh("1,a") == {"refreshed": 1}
    assert doc.body() == "second"


def test_row_without_a_version_or_a_value_is_read_in_full(doc, db, client):
    doc.refresh("1,a", "1,b")
    doc.age()
    client.delete("inv:1,a")
    db.run("UPDATE doc SET body = 'second'")
    assert doc.refresh("1,a", "1,b", "1,c", "?") == {"refreshed": 2, "missing": 1, "failed": 1}
    assert [body(client, "1,a"), body(client, "1,b")] == ["second", "second"]


def test_some_rows_are_read_in_full_whatever_their_version(doc, db, monkeypatch):
    doc.refresh("1,a")
    doc.age()
    db.run("UPDATE doc SET body = 'second'")
    monkeypatch.setattr(read_rows, "FULL_SHARE", 1)
    assert doc.refresh("1,a") == {"refreshed": 1}


@pytest.mark.parametrize("event", ["expired", "changed", "changed back in time", "dropped"])
def test_row_whose_value_has_changed_since_the_look_is_not_confirmed(doc, client, event):
    doc.refresh("1,a")
    doc.age()
    versions = doc.source.fetch_versions

    def interfere(row_ids, positions):
        found = versions(row_ids, positions)
        if event == "expired":
            client.delete("inv:1,a")
        elif event == "dropped":
            doc.schedule.drop_rows(["1,a"])
        else:
            doc.schedule.touch_rows(["1,a"])
            at = "2026-11-22T19:39:19.7" if event == "changed" else "2026-11-22T19:39:19.5"
            doc.schedule.commit_rows(doc.schedule.claim_rows(1, 30)[0], {"1,a": b'{"at":"%s","v":2}' % at.encode()})
        return found

    doc.source.fetch_versions = interfere
    assert doc.refresh("1,a") == ({"dropped": 1} if event == "dropped" else {"superseded": 1})
    assert client.get("inv:1,a") is None or b'"v":2' in client.get("inv:1,a")
    if event == "expired":
        assert client.zscore("schedule:", "1,a") <= client.time()[0] + 1, "it is due at once"


def test_rows_are_read_in_full_after_a_change_of_columns_or_types_by_any_worker(doc, db, client):
    doc.refresh("1,a")
    doc.age()
    assert doc.refresh("1,a") == {"unchanged": 1}
    db.run("ALTER TABLE doc ADD price integer")
    doc.source.load()
    assert doc.refresh("1,a") == {"refreshed": 1}
    assert "price" in json.loads(client.get("inv:1,a"))
    assert doc.refresh("1,a") == {"unchanged": 1}, "read again: a worker without the column may have written it"
    assert client.hget("state:", "shape") == doc.source.shape().encode()
    client.hset("state:", mapping={"shape": "another", "shape_at": 0})
    db.run("UPDATE doc SET body = 'second'")
    assert doc.refresh("1,a") == {"refreshed": 1}
    doc.age()
    db.run("ALTER TABLE doc DROP COLUMN price", "ALTER TABLE doc ADD price varchar(9)", "UPDATE doc SET body = 'third'")
    doc.source.load()
    assert doc.refresh("1,a") == {"refreshed": 1}, "a column of that name has another type now"
    assert doc.body() == "third"


def test_rows_of_another_table_with_the_same_columns_and_versions_are_read_in_full(doc, db):
    db.run("CREATE TABLE next AS SELECT * FROM doc", "UPDATE next SET body = 'of the other table'")
    doc.refresh("1,a")
    doc.age()
    other = db.source("next", version="at", key=("shelf", "slot"))
    assert doc.refresh("1,a", source=other) == {"refreshed": 1}
    assert doc.body() == "of the other table"
    db.run("DROP TABLE next")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"version": "att"}, "['version']: 'doc' has no column 'att'"),
        ({"version": "at", "columns": ("body",)}, "['columns'] lacks the version 'at'"),
    ],
)
def test_version_that_is_not_among_the_columns_is_an_error_of_one_line(doc, db, options, words):
    source = db.source("doc", **options)
    with pytest.raises(ConfigError) as caught:
        source.load()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
