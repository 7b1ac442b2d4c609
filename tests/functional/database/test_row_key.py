"""Row ids and the keys they stand for, on real PostgreSQL and SQLite."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from support.scratch_database import CREATE_USERS, row_values
from support.sent_sql import record_psycopg_queries

from rowcache_tasks import row_id
from rowcache_tasks.config.query import Query
from rowcache_tasks.errors import ConfigError


@pytest.mark.parametrize(
    "row_id", ["+1", " 1", "1 ", "1_0", "\uff11", "1.0", "1e0", "--1", "-", "0x1", "9" * 5000, "\udc80", "1\0"]
)
def test_id_that_is_no_strict_integer_is_an_error_alone(db, row_id):
    db.run(*CREATE_USERS)
    fetched = db.source("users").fetch(["1", row_id, "43"])
    assert list(fetched.rows) == ["1", "43"]
    assert list(fetched.errors) == [row_id]
    reason = fetched.errors[row_id]
    assert reason.isprintable()
    assert len(reason) <= 200


def test_text_key_takes_any_text_that_the_database_can_hold(db):
    db.run("CREATE TABLE word (word varchar(50) PRIMARY KEY, n integer)")
    words = ["a,b", "100%", "{}", '"', "\\", "NULL", " x ", "naïve ☃ 🐘", "'; --", ":a %(b)s", "nul"]
    for n, word in enumerate(words):
        db.insert("word", word, n)
    source = db.source("word")
    fetched = source.fetch([*words, "x", "\udc80", "missing"])
    assert row_values(fetched) == {word: (word, n) for n, word in enumerate(words)}
    assert fetched.missing == ["x", "missing"]
    assert list(fetched.errors) == ["\udc80"]
    assert [row_values(source.fetch([word])) for word in words] == [{word: (word, n)} for n, word in enumerate(words)]
    assert sorted(row_id for page in source.stream_row_ids(3) for row_id in page) == sorted(words)


def test_row_whose_key_is_an_empty_text_has_no_row_id(db, caplog):
    db.run("CREATE TABLE word (word varchar(50) PRIMARY KEY)", "INSERT INTO word VALUES (''), ('a')")
    source = db.source("word")
    found = source.fetch(["", "a"])
    assert list(found.rows) == ["a"]
    assert found.errors == {"": "row id '': it is empty"}
    assert source.find_missing(["", "a", "b"]) == ["", "b"]
    assert list(source.stream_row_ids(10)) == [["a"]]
    assert caplog.messages == ["rowcache_tables['inv']: left out 1 row(s) whose key is an empty text"]
    query = Query("hot", "queries['hot']", "SELECT word FROM word")
    assert list(source.stream_query(query, 10)) == [[("a", None)]]


def test_nul_in_a_text_key_is_an_error_in_postgresql(pg):
    pg.run("CREATE TABLE word (word text PRIMARY KEY)")
    assert list(pg.source("word").fetch(["a\0b", "a"]).errors) == ["a\0b"]


def test_padded_key_is_found_by_its_trimmed_text(pg):
    pg.run("CREATE TABLE airport (code char(5) PRIMARY KEY)", "INSERT INTO airport VALUES ('OSL'), ('MUC')")
    source = pg.source("airport")
    sent = record_psycopg_queries(source._engine)
    fetched = source.fetch(["OSL", "MUC  "])
    assert row_values(fetched) == {"OSL": ("OSL  ",), "MUC  ": ("MUC  ",)}
    assert sum("FROM airport" in sql for sql in sent) == 1
    assert source.fetch(["OSL", "XXX"]).missing == ["XXX"]
    assert sorted(next(source.stream_row_ids(10))) == ["MUC", "OSL"]


def test_uuid_key(pg):
    pg.run("CREATE TABLE job (id uuid PRIMARY KEY)")
    job = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    pg.run(f"INSERT INTO job VALUES ('{job}')")
    source = pg.source("job")
    fetched = source.fetch([job, job.upper(), job.replace("-", ""), "6ba7b810-9dad-11d1-80b4-00c04fd430c9"])
    assert row_values(fetched) == {job: (job,), job.upper(): (job,)}
    assert len(fetched.missing) == 1
    assert fetched.errors == {job.replace("-", ""): f"row id '{job.replace('-', '')}': it is not a hyphenated UUID"}
    assert list(source.stream_row_ids(10)) == [[job]]


def test_enum_key_with_an_unknown_label_is_an_error_alone(pg):
    pg.run("""CREATE TYPE "My Mood" AS ENUM ('sad', 'so so', 'glad')""", 'CREATE TABLE mood (m "My Mood" PRIMARY KEY)')
    pg.run("INSERT INTO mood VALUES ('so so'), ('glad')")
    fetched = pg.source("mood").fetch(["so so", "angry", "glad", "sad"])
    assert list(fetched.rows) == ["so so", "glad"]
    assert fetched.missing == ["sad"]
    assert fetched.errors == {
        "angry": "the database cannot read the row: invalid input value for enum … (SQLSTATE 22P02)"
    }


def test_numeric_date_and_domain_keys(pg):
    pg.run("CREATE DOMAIN positive AS bigint CHECK (VALUE > 0)")
    pg.run("CREATE TABLE n (id numeric PRIMARY KEY)", "INSERT INTO n VALUES (1.50), ('NaN')")
    pg.run("CREATE TABLE d (id date PRIMARY KEY)", "INSERT INTO d VALUES ('2026-11-22'), ('infinity')")
    pg.run("CREATE TABLE p (id positive PRIMARY KEY)", "INSERT INTO p VALUES (5)")
    assert row_values(pg.source("n").fetch(["1.5", "1.500", "NaN"])) == {"1.5": ("1.50",), "1.500": ("1.50",)}
    assert sorted(next(pg.source("n").stream_row_ids(9))) == ["1.50", "NaN"]
    fetched = pg.source("d").fetch(["2026-11-22", "2026-02-30", "22.11.2026", "infinity"])
    assert list(fetched.rows) == ["2026-11-22", "infinity"]
    assert len(fetched.errors) == 2
    assert row_values(pg.source("p").fetch(["5", "-5"])) == {"5": (5,)}


def test_key_of_several_columns(db):
    db.run("CREATE TABLE seat (hall text, n integer, free boolean, PRIMARY KEY (n, hall))")
    db.run("INSERT INTO seat VALUES ('a,b', 1, true), ('100%', 2, false)")
    source = db.source("seat", columns=("free",))
    ids = sorted(row_id for page in source.stream_row_ids(1) for row_id in page)
    assert ids == ["1,a%2Cb", "2,100%25"]
    fetched = source.fetch([*ids, "01,a%2Cb", "3,x", "1", "1,a,b", "x,a"])
    assert [fetched.encoder.encode(row) for row in fetched.rows.values()] == [
        b'{"free":true}',
        b'{"free":false}',
        b'{"free":true}',
    ]
    assert fetched.missing == ["3,x"]
    assert fetched.errors.keys() == {"1", "1,a,b", "x,a"}
    assert fetched.errors["x,a"] == "row id 'x,a': part 1: it is not a whole number in plain digits"


def test_text_that_the_collation_calls_equal_finds_its_row(sqlite):
    sqlite.run("CREATE TABLE person (name text COLLATE NOCASE PRIMARY KEY, n integer)")
    sqlite.run("INSERT INTO person VALUES ('Zoe', 1), ('Bob', 2), ('eve', 3)")
    alike = sqlite.source("person", columns=("n",)).fetch(["zoe", "Zoe"])
    assert row_values(alike) == {"zoe": (1,), "Zoe": (1,)}
    fetched = sqlite.source("person", columns=("n",)).fetch(["zoe", "Zoe", "BOB", "eve", "mallory"])
    assert row_values(fetched) == {"zoe": (1,), "Zoe": (1,), "BOB": (2,), "eve": (3,)}
    assert fetched.missing == ["mallory"]


def test_citext_finds_its_row_in_any_case(pg):
    pg.run("CREATE EXTENSION citext", "CREATE TABLE person (name citext PRIMARY KEY, n integer)")
    pg.run("INSERT INTO person VALUES ('Zoe', 1), ('Bob', 2)")
    fetched = pg.source("person", columns=("n",)).fetch(["zoe", "ZOE", "Bob", "eve"])
    assert row_values(fetched) == {"zoe": (1,), "ZOE": (1,), "Bob": (2,)}
    assert fetched.missing == ["eve"]


EAST = timezone(timedelta(hours=2))
TYPED_KEYS = [
    ("pg", "boolean", "true", True, "true"),
    ("pg", "bytea", r"'\x00ff22'", b'\0\xff"', "AP8i"),
    ("pg", "timestamp", "'2026-01-02 03:04:05.50'", datetime(2026, 1, 2, 3, 4, 5, 500000), "2026-01-02T03:04:05.5"),
    ("pg", "timestamptz", "'2026-01-02 03:04:05+02'", datetime(2026, 1, 2, 3, 4, 5, 0, EAST), "2026-01-02T01:04:05Z"),
    ("pg", "timestamptz", "'infinity'", "infinity", "infinity"),
    ("pg", "inet", "'10.0.0.1'", "10.0.0.1", "10.0.0.1"),
    ("pg", "cidr", "'10.0.0.0/8'", "10.0.0.0/8", "10.0.0.0/8"),
    ("pg", "macaddr", "'08:00:2b:01:02:03'", "08:00:2b:01:02:03", "08:00:2b:01:02:03"),
    ("pg", "time", "'19:39:19.5'", "19:39:19.5", "19:39:19.5"),
    ("pg", "numeric(9,2)", "12.3", Decimal("12.30"), "12.30"),
    ("pg", "numeric", "0.0000001", Decimal("1E-7"), "0.0000001"),
    ("pg", '"Mood %s"', "'so so'", "so so", "so so"),
    ("sqlite", "BOOLEAN", "0", False, "false"),
    ("sqlite", "BLOB", "x'00ff22'", b'\0\xff"', "AP8i"),
    ("sqlite", "NUMERIC", "12.50", Decimal("12.5"), "12.5"),
    ("sqlite", "DECIMAL(9,2)", "0.0000001", Decimal("1E-7"), "0.0000001"),
    ("sqlite", "DATE", "'2026-01-02'", date(2026, 1, 2), "2026-01-02"),
    ("sqlite", "DATETIME", "'2026-01-02 03:04:05.000000'", datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    ("sqlite", "DATETIME", "'2026-01-02T03:04:05'", datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    ("sqlite", "TIMESTAMP", "'2026-01-02 03:04:05.5'", datetime(2026, 1, 2, 3, 4, 5, 500000), "2026-01-02T03:04:05.5"),
    (
        "sqlite",
        "TIMESTAMP",
        "'2026-01-02 03:04:05+00:00'",
        datetime(2026, 1, 2, 3, 4, 5, 0, UTC),
        "2026-01-02T03:04:05Z",
    ),
    ("sqlite", "TIMESTAMP", "'2026-01-02 03:04:05+02:00'", "2026-01-02 03:04:05+02:00", "2026-01-02 03:04:05+02:00"),
]


@pytest.mark.parametrize(("server", "sql_type", "literal", "key", "text"), TYPED_KEYS)
def test_row_is_found_by_a_key_of_each_type_alone_and_among_several(request, server, sql_type, literal, key, text):
    db = request.getfixturevalue(server)
    if "Mood" in sql_type:
        db.run("""CREATE TYPE "Mood %s" AS ENUM ('so so', 'ok')""")
    db.run(f"CREATE TABLE one (k {sql_type} PRIMARY KEY, n integer)", f"INSERT INTO one VALUES ({literal}, 1)")
    db.run(f"CREATE TABLE two (n integer, k {sql_type}, PRIMARY KEY (n, k))", f"INSERT INTO two VALUES (1, {literal})")
    query = Query("q", "queries['q']", "SELECT k FROM one")
    one, two = db.source("one", columns=("n",)), db.source("two", columns=("n",))
    assert row_id(key) == text
    assert row_values(one.fetch([text, "nonsense"])) == {text: (1,)}
    assert row_values(two.fetch([row_id(1, key), row_id(2, key)])) == {f"1,{text}": (1,)}
    assert (list(one.stream_row_ids(9)), list(two.stream_row_ids(9))) == ([[text]], [[f"1,{text}"]])
    assert list(one.stream_query(query, 9)) == [[(text, None)]]
    assert one.find_mistakes([text]) == {}


def test_other_texts_of_a_key_find_its_row(pg, sqlite):
    pg.run("CREATE TABLE job (at timestamptz PRIMARY KEY)", "INSERT INTO job VALUES ('2026-01-02 00:00:00Z')")
    moments = ["2026-01-02", "2026-01-02 00:00:00", "2026-01-02T02:00:00+02:00", "2026-01-02T00:00:00.000Z"]
    fetched = pg.source("job").fetch([*moments, "2026-01-32", "2026-01-02T00:00:00 BC"])
    assert list(fetched.rows) == moments
    assert len(fetched.errors) == 2
    assert set(pg.source("job").find_mistakes(moments).values()) == {
        "it is another text for '2026-01-02T00:00:00Z': ask for that"
    }
    sqlite.run("CREATE TABLE job (at DATETIME PRIMARY KEY)", "INSERT INTO job VALUES ('2026-01-02 00:00:00.000000')")
    found = sqlite.source("job").fetch(["2026-01-02 00:00:00.000000", "2026-01-02T00:00:00"])
    assert len(found.rows) == 2


@pytest.mark.parametrize(
    ("sql_type", "text", "other", "reason"),
    [
        ("inet", "10.0.0.1", "10.0.0.1/32", "it is not an IP address like 10.0.0.1 or 10.0.0.1/8"),
        ("inet", "::ffff:1.2.3.4/8", "0:0:0::FFFF:0102:0304/8", "it is not an IP address like 10.0.0.1 or 10.0.0.1/8"),
        ("cidr", "2001:db8::/32", "2001:0DB8:0::/32", "it is not a network like 10.0.0.0/8, with no bits set to"),
        ("macaddr", "08:00:2b:01:02:03", "0800.2B01.0203", "it is not a MAC address like 08:00:2b:01:02:03"),
        ("macaddr8", "08:00:2b:ff:fe:01:02:03", "08002b:010203", "it is not a MAC address like 08:00:2b:ff:fe:01"),
        ("time", "19:39:00", "19:39", "it is not a time written hh:mm:ss"),
        ("time", "24:00:00", "24:00:00", "it is not a time written hh:mm:ss"),
    ],
)
def test_ids_that_are_no_address_or_time_cost_no_query(pg, sql_type, text, other, reason):
    pg.run(f"CREATE TABLE one (k {sql_type} PRIMARY KEY)", f"INSERT INTO one VALUES ('{text}')")
    source = pg.source("one")
    wrong = [f"wrong {n}" for n in range(20)] + ["fe80::1%eth0", "10.0.0.256", "08:00:2b:01:02:0g", "25:00:00"]
    sent = record_psycopg_queries(source._engine)
    found = source.fetch([other, text, *wrong])
    assert sum("FROM one" in sql for sql in sent) == 1
    assert list(found.rows) == list(dict.fromkeys([other, text]))
    assert list(found.errors) == wrong
    assert all(reason in found.errors[row_id] for row_id in wrong)
    assert list(source.stream_row_ids(9)) == [[text]]


def test_key_column_without_an_exact_text_names_the_columns_that_may_be_one(pg):
    pg.run("CREATE TABLE reading (at float8 PRIMARY KEY, id integer, name text, spot point)")
    with pytest.raises(ConfigError) as caught:
        pg.source("reading").load()
    assert str(caught.value) == (
        "rowcache_tables['inv']: the key has the column 'at' of type double precision, which has no exact text: "
        'name columns that identify a row, "key": one or more of id, name'
    )
