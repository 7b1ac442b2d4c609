"""Changed rows by a column that grows: SQLite and PostgreSQL; MariaDB is in test_mysql.py."""

from itertools import chain

import pytest

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database import watermark as module
from rowcache_tasks.database.watermark import Watermark
from rowcache_tasks.errors import ArgumentError, SourceError


class Clock:
    """Clock of the database that a test moves."""

    now = 1_000_000.0


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(Watermark, "_clock", lambda _self: clock.now)
    return clock


@pytest.fixture(autouse=True)
def slow(monkeypatch):
    """No pass takes so long that the newest rows overtake it."""
    monkeypatch.setattr(module, "NEWEST_S", 600)


@pytest.fixture
def small_pages(monkeypatch):
    """Pages of 3 rows, between which no look at the newest rows comes, however long they take."""
    monkeypatch.setattr(module, "PAGE", 3)
    monkeypatch.setattr(module, "NEWEST_S", 3600)


def follow(db, column="at", margin_s=10, **options):
    watermark = Watermark(db.engine(), Table("inv", "stock", **options), column, margin_s)
    watermark.begin()
    return watermark


def changed(watermark):
    return sorted(chain.from_iterable(watermark.changes()))


def test_rows_with_equal_values_are_found_once_across_pages(db, small_pages, clock):
    db.run(
        "CREATE TABLE stock (shop varchar(9), item integer, at timestamp, n integer, PRIMARY KEY (shop, item))",
        "INSERT INTO stock VALUES ('old', 1, '2026-11-30 10:00:00', 0), ('never', 1, NULL, 0)",
    )
    watermark = follow(db)
    assert changed(watermark) == [], "all before the start is left to the intervals"
    for shop in ("a", "b"):
        for item in range(1, 9):
            db.run(f"INSERT INTO stock VALUES ('{shop}', {item}, '2026-11-30 10:00:01', 0)")
    expected = [f"{shop},{item}" for shop in "ab" for item in range(1, 9)]
    assert changed(watermark) == expected
    assert changed(watermark) == []
    db.run("UPDATE stock SET at = '2026-11-30 10:00:01.5' WHERE item = 1 AND at IS NOT NULL")
    assert changed(watermark) == ["a,1", "b,1", "old,1"]


def test_row_that_changes_twice_in_a_second_is_found_twice_if_the_column_has_whole_seconds(db, clock):
    db.run("CREATE TABLE stock (id integer PRIMARY KEY, at timestamp, n integer)")
    watermark = follow(db)
    db.run("INSERT INTO stock VALUES (1, '2026-11-30 10:00:01', 0), (2, '2026-11-30 10:00:00.5', 0)")
    assert changed(watermark) == ["1", "2"]
    db.run("UPDATE stock SET n = 1 WHERE id = 1")
    clock.now += 0.5
    db.run("INSERT INTO stock VALUES (3, '2026-11-30 10:00:02', 0)")
    assert changed(watermark) == ["3"]
    clock.now += 0.5
    assert changed(watermark) == ["1"]
    clock.now += 0.5
    assert changed(watermark) == ["3"]
    for _ in range(3):
        clock.now += 1
        assert changed(watermark) == []


@pytest.mark.parametrize(
    ("sql_type", "values"),
    [
        ("timestamptz", ["2026-11-30 10:00:00.000001+02", "2026-11-30 08:00:00.000002Z"]),
        ("numeric", ["9007199254740993", "9007199254740993.5"]),
        ("bigint", ["9007199254740992", "9007199254740993"]),
        ("text", ["a'%", "b"]),
    ],
)
def test_value_is_compared_exactly(pg, sql_type, values):
    pg.run(f"CREATE TABLE stock (id uuid PRIMARY KEY, at {sql_type})")
    watermark = follow(pg, margin_s=0)
    for n, value in enumerate(values):
        row_id = f"6ba7b810-9dad-11d1-80b4-00c04fd430c{n}"
        pg.run(f"INSERT INTO stock VALUES ('{row_id}', '{value.replace(chr(39), chr(39) * 2)}')")
        assert changed(watermark) == [row_id]
        assert changed(watermark) == []


def test_row_that_is_committed_late_is_found_within_the_margin(db, clock):
    db.run("CREATE TABLE stock (id integer PRIMARY KEY, at integer)", "INSERT INTO stock VALUES (1, 100)")
    watermark = follow(db)
    for clock.now in (1_000_001, 1_000_020):
        db.run(f"UPDATE stock SET at = {int(clock.now)} WHERE id = 1")
        assert changed(watermark) == ["1"]
    clock.now += 9
    db.run("INSERT INTO stock VALUES (2, 1000002)")
    assert changed(watermark) == ["2"]
    assert changed(watermark) == []
    clock.now += 11
    changed(watermark)
    db.run("INSERT INTO stock VALUES (3, 1000001)")
    assert changed(watermark) == [], "left to its interval"


def test_changes_after_a_step_back_of_the_clock_are_found(db, clock):
    db.run("CREATE TABLE stock (id integer PRIMARY KEY, at integer)")
    watermark = follow(db)
    for second in range(100):
        clock.now = 1_000_000 + second
        db.run(f"INSERT INTO stock VALUES ({second}, {int(clock.now)})")
        changed(watermark)
    clock.now -= 60
    changed(watermark)
    for second in range(1000, 1030):
        clock.now += 1
        db.run(f"INSERT INTO stock VALUES ({second}, {int(clock.now)})")
        assert changed(watermark) == [str(second)]


def test_value_in_the_far_future_hides_no_change(db):
    db.run("CREATE TABLE stock (id integer PRIMARY KEY, at timestamp)", "INSERT INTO stock VALUES (1, '9999-12-31')")
    watermark = follow(db, margin_s=0)
    db.run("INSERT INTO stock VALUES (2, '2026-11-30 10:00:00'), (3, '9999-01-01')")
    assert changed(watermark) == ["2"]


def test_burst_is_read_in_pages_and_not_remembered(db, small_pages, clock, monkeypatch):
    monkeypatch.setattr(module, "MAX_SEEN", 10)
    db.run("CREATE TABLE stock (id integer PRIMARY KEY, at integer)")
    watermark = follow(db)
    db.run(f"INSERT INTO stock VALUES {', '.join(f'({n}, 5)' for n in range(100, 200))}")
    pages = list(watermark.changes())
    assert max(map(len, pages)) == 3
    assert sorted(chain.from_iterable(pages)) == [str(n) for n in range(100, 200)]
    for clock.now in (1_000_000, 1_000_020):
        assert changed(watermark) == []
    db.run("INSERT INTO stock VALUES (200, 6)")
    assert changed(watermark) == ["200"]


def test_row_that_changes_during_a_long_pass_overtakes_it(db, small_pages, clock, monkeypatch):
    monkeypatch.setattr(module, "NEWEST", 5)
    monkeypatch.setattr(module, "NEWEST_S", -60)
    db.run("CREATE TABLE stock (id integer PRIMARY KEY, at integer)")
    watermark = follow(db)
    db.run(f"INSERT INTO stock VALUES {', '.join(f'({n}, 5)' for n in range(100, 200))}, (1, 6)")
    pages = watermark.changes()
    assert next(pages) == ["100", "101", "102"]
    assert next(pages) == ["1", "199", "198", "197", "196"]
    db.run("INSERT INTO stock VALUES (2, 6), (3, 7)")
    assert next(pages) == ["103", "104", "105"]
    watermark._next_newest = 0  # a look is followed by a pause as long as it took
    assert next(pages) == ["3", "2"]
    rest = list(pages)
    assert sorted(chain.from_iterable(rest)) == sorted(map(str, [1, 2, 3, *range(106, 200)]))
    assert max(map(len, rest)) == 3
    assert changed(watermark) == []


def test_pass_that_was_not_read_to_its_end_is_repeated(db, small_pages):
    db.run("CREATE TABLE stock (id integer PRIMARY KEY, at integer)")
    watermark = follow(db)
    db.run(f"INSERT INTO stock VALUES {', '.join(f'({n}, {n})' for n in range(1, 9))}")
    next(watermark.changes())
    assert changed(watermark) == [str(n) for n in range(1, 9)]


def test_wrong_column_and_missing_right_are_one_line(pg):
    pg.run("CREATE TABLE stock (id integer PRIMARY KEY, updated_at timestamptz, tags json)")
    with pytest.raises(ArgumentError, match=r"^column 'updated' is not in 'stock': did you mean updated_at\?$"):
        follow(pg, "updated")
    with pytest.raises(SourceError, match=r"cannot read 'stock': could not identify an ordering operator"):
        follow(pg, "tags")
