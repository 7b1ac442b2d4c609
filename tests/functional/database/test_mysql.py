"""MariaDB, where it is installed: the table of docs/json.md, keys, errors and the session."""

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import create_engine, delete, update
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.orm import sessionmaker
from support.mariadb import MariaDB, missing_programs
from support.orm_models import Inventory
from support.reading import AT, row_ids_of_a_reading
from support.scratch_database import row_values
from support.sent_sql import record_statements

from rowcache_tasks import row_id
from rowcache_tasks.config.query import Query, parse_queries
from rowcache_tasks.config.settings import Table
from rowcache_tasks.database import watermark
from rowcache_tasks.database.engine import create_source_engine, is_pooled, is_replica
from rowcache_tasks.database.source import Source
from rowcache_tasks.errors import ConfigError, EncodingError, SourceError

pytestmark = pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}")

ERROR = object()

TYPES = [
    ("TINYINT(1)", "1", "1"),
    ("INT", "-42", "-42"),
    ("INT(5) ZEROFILL", "42", "42"),
    ("BIGINT UNSIGNED", "18446744073709551615", "18446744073709551615"),
    ("INT", "NULL", "null"),
    ("DECIMAL(40,10)", "12345678901234567890.1234567890", '"12345678901234567890.1234567890"'),
    ("DECIMAL(5,2)", "12.3", '"12.30"'),
    ("FLOAT", "0.1", "0.1"),
    ("FLOAT", "16777216", "16777216.0"),
    ("FLOAT", "1.17549435e-38", "1.1754944e-38"),
    ("DOUBLE", "0.1e0 + 0.2e0", "0.30000000000000004"),
    ("DOUBLE", "1e300", "1e300"),
    ("BIT(1)", "b'1'", '"AQ=="'),
    ("BIT(12)", "b'100000000001'", '"CAE="'),
    ("VARCHAR(20)", "'naïve ☃ 🐘'", '"naïve ☃ 🐘"'),
    ("VARCHAR(20) CHARACTER SET latin1", "'naïve'", '"naïve"'),
    ("CHAR(5)", "'ab  '", '"ab"'),
    ("TEXT", "''", '""'),
    ("LONGTEXT", "REPEAT('x', 100000)", '"' + "x" * 100000 + '"'),
    ("BINARY(3)", "x'00ff'", '"AP8A"'),
    ("VARBINARY(3)", "x'00ff10'", '"AP8Q"'),
    ("BLOB", "x'00ff10'", '"AP8Q"'),
    ("DATE", "'2026-11-22'", '"2026-11-22"'),
    ("DATE", "'0000-00-00'", ERROR),
    ("DATE", "'2026-00-00'", ERROR),
    ("DATETIME(6)", "'2026-11-22 19:39:19.123456'", '"2026-11-22T19:39:19.123456"'),
    ("DATETIME", "'2026-11-22 19:39:19'", '"2026-11-22T19:39:19"'),
    ("DATETIME", "'0000-00-00 00:00:00'", ERROR),
    ("TIMESTAMP(3) NULL", "'2026-11-22 19:39:19.123'", '"2026-11-22T17:39:19.123Z"'),
    ("TIME", "'-838:59:59'", '"-838:59:59"'),
    ("TIME(2)", "'01:02:03.45'", '"01:02:03.45"'),
    ("YEAR", "2026", "2026"),
    ("ENUM('so so','glad')", "'so so'", '"so so"'),
    ("SET('a','b')", "'a,b'", '"a,b"'),
    ("JSON", """'{"a": 12345678901234567890.10}'""", '{"a": 12345678901234567890.10}'),
    ("JSON", "'null'", "null"),
    ("JSON", r"""'{"path": "C:\\dir"}'""", ERROR),
    ("JSON", "'1e999'", ERROR),
    ("LONGTEXT", """'{"a": 1}'""", '"{\\"a\\": 1}"'),
    ("UUID", "'6BA7B810-9DAD-11D1-80B4-00C04FD430C8'", '"6ba7b810-9dad-11d1-80b4-00c04fd430c8"'),
    ("INET6", "'::1'", '"::1"'),
    ("POINT", "ST_GeomFromText('POINT(1 2)')", '"AAAAAAEBAAAAAAAAAAAA8D8AAAAAAAAAQA=="'),
]


@pytest.fixture(scope="module")
def server():
    with MariaDB() as server:
        admin = create_engine(server.url(""), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE shop CHARACTER SET utf8mb4")
            connection.exec_driver_sql("CREATE DATABASE other")
        admin.dispose()
        yield server


@pytest.fixture(scope="module")
def admin(server):
    """Run SQL that sets a test up, two hours east of Greenwich and with zero dates allowed."""
    engine = create_engine(server.url("shop"), isolation_level="AUTOCOMMIT")

    def run(*statements):
        with engine.connect() as connection:
            connection.exec_driver_sql("SET time_zone = '+02:00', sql_mode = ''")
            for statement in statements:
                connection.exec_driver_sql(statement.replace("%", "%%"))

    yield run
    engine.dispose()


@pytest.fixture(scope="module")
def engine(server):
    engine = create_source_engine(server.url("shop"), statement_timeout_s=5)
    yield engine
    engine.dispose()


def source_of(engine, table, **options):
    return Source(engine, Table("inv", table, **options))


@pytest.mark.parametrize(("sql_type", "literal", "expected"), TYPES)
def test_value_has_the_documented_json(admin, engine, sql_type, literal, expected):
    admin(
        "DROP TABLE IF EXISTS typed",
        f"CREATE TABLE typed (id INT PRIMARY KEY, v {sql_type})",
        f"INSERT INTO typed VALUES (1, {literal})",
    )
    source = source_of(engine, "typed", columns=("v",))
    fetched = source.fetch(["1"])
    row = fetched.rows["1"]
    if expected is ERROR:
        with pytest.raises(
            EncodingError,
            match=r"column 'v': the (date has a zero|text is not JSON)",
        ):
            fetched.encoder.encode(row)
    else:
        assert fetched.encoder.encode(row).decode() == f'{{"v":{expected}}}'
        versions = source_of(engine, "typed", version="v").fetch_versions(["1"])
        assert versions == ({} if expected == "null" else {"1": f'{{"v":{expected},'.encode()})


def test_session_is_read_only_bounded_and_in_utc(engine):
    with engine.connect() as connection:
        query = "SELECT @@tx_read_only, @@max_statement_time, @@time_zone, @@character_set_connection, @@autocommit"
        assert tuple(connection.exec_driver_sql(query).one()) == (1, 5.0, "+00:00", "utf8mb4", 1)


def test_batch_is_sorted_into_rows_missing_and_errors(admin, engine):
    admin(
        "DROP TABLE IF EXISTS item",
        "CREATE TABLE item (id TINYINT UNSIGNED PRIMARY KEY, name TEXT)",
        "INSERT INTO item VALUES (1, 'a'), (255, 'b')",
    )
    fetched = source_of(engine, "item").fetch(["1", "001", "255", "7", "256", "x"])
    assert {row_id: tuple(row) for row_id, row in fetched.rows.items()} == {
        "1": (1, "a"),
        "001": (1, "a"),
        "255": (255, "b"),
    }
    assert fetched.missing == ["7"]
    assert fetched.errors.keys() == {"256", "x"}


def test_row_that_fails_the_select_is_alone_in_errors(admin, engine):
    admin(
        "DROP TABLE IF EXISTS stock",
        "CREATE TABLE stock (id INT PRIMARY KEY, have BIGINT UNSIGNED, want BIGINT UNSIGNED)",
        "INSERT INTO stock SELECT seq, seq, IF(seq = 37, 99999, 1) FROM seq_1_to_100",
        "CREATE OR REPLACE VIEW surplus AS SELECT id, have - want AS n FROM stock",
    )
    fetched = source_of(engine, "surplus", key=("id",)).fetch([str(i) for i in range(1, 101)])
    assert len(fetched.rows) == 99
    assert fetched.errors == {"37": "the database cannot read the row: BIGINT UNSIGNED value is out of range in …"}


def test_key_text_that_the_collation_calls_equal_finds_its_row(admin, engine):
    admin(
        "DROP TABLE IF EXISTS person",
        "CREATE TABLE person (name VARCHAR(20) COLLATE utf8mb4_unicode_ci PRIMARY KEY, n INT)",
        "INSERT INTO person VALUES ('Zoë', 1), ('Bob', 2), ('eve', 3)",
    )
    fetched = source_of(engine, "person", columns=("n",)).fetch(["zoe", "Zoë", "BOB", "eve", "mallory"])
    assert {row_id: row[0] for row_id, row in fetched.rows.items()} == {"zoe": 1, "Zoë": 1, "BOB": 2, "eve": 3}
    assert fetched.missing == ["mallory"]


def test_key_text_that_the_column_cannot_hold_is_missing_or_an_error(admin, engine):
    admin(
        "DROP TABLE IF EXISTS western",
        "CREATE TABLE western (code VARCHAR(20) CHARACTER SET latin1 PRIMARY KEY)",
        "INSERT INTO western VALUES ('a')",
    )
    fetched = source_of(engine, "western").fetch(["a", "🐘", "\udc80", "nul\0"])
    assert list(fetched.rows) == ["a"]
    assert {*fetched.missing, *fetched.errors} == {"🐘", "\udc80", "nul\0"}


def test_key_of_several_columns_in_another_schema(admin, engine):
    admin(
        "DROP TABLE IF EXISTS other.seat",
        "CREATE TABLE other.seat (hall CHAR(2), day DATE, n DECIMAL(4,1), PRIMARY KEY (day, hall, n))",
        "INSERT INTO other.seat VALUES ('a', '2026-11-22', 1.5), ('b', '2026-11-22', 2)",
    )
    source = source_of(engine, "other.seat")
    assert sorted(row_id for page in source.stream_row_ids(1) for row_id in page) == [
        "2026-11-22,a,1.5",
        "2026-11-22,b,2.0",
    ]
    fetched = source.fetch(["2026-11-22,a,1.50", "2026-11-22,b,2", "2026-11-23,a,1.5", "2026-11-31,a,1"])
    assert list(fetched.rows) == ["2026-11-22,a,1.50", "2026-11-22,b,2"]
    assert fetched.missing == ["2026-11-23,a,1.5"]
    assert fetched.errors == {"2026-11-31,a,1": "row id '2026-11-31,a,1': part 1: it is not a day of the calendar"}


def test_stream_yields_every_key_in_pages(admin, engine):
    admin(
        "DROP TABLE IF EXISTS big",
        "CREATE TABLE big (id INT PRIMARY KEY)",
        "INSERT INTO big SELECT seq FROM seq_1_to_2500",
    )
    source = source_of(engine, "big")
    pages = list(source.stream_row_ids(1000))
    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert {row_id for page in pages for row_id in page} == {str(i) for i in range(1, 2501)}
    assert source.count_rows() == 2500
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT @@max_statement_time").scalar() == 5, "other statements are bounded"


def test_missing_table_is_a_config_error_at_first_and_a_source_error_later(admin, engine):
    admin("CREATE OR REPLACE TABLE parcel (id INT PRIMARY KEY)")
    with pytest.raises(ConfigError, match=r"no table or view 'parcels': did you mean parcel\?"):
        source_of(engine, "parcels").load()
    source = source_of(engine, "parcel")
    source.load()
    admin("DROP TABLE parcel")
    with pytest.raises(SourceError, match="the database has no table or view 'parcel'"):
        source.fetch(["1", "2"])


def test_slow_statement_is_ended_by_the_server(admin, engine):
    admin("CREATE OR REPLACE TABLE slow (id INT PRIMARY KEY)", "INSERT INTO slow VALUES (1), (2)")
    admin("CREATE OR REPLACE VIEW sleepy AS SELECT id, SLEEP(60) AS s FROM slow")
    source = source_of(engine, "sleepy", key=("id",))
    with engine.connect() as connection:
        connection.exec_driver_sql("SET SESSION max_statement_time = 0.05")
    with pytest.raises(SourceError, match="max_statement_time exceeded"):
        source.fetch(["1", "2"])
    engine.dispose()


def test_connection_that_the_server_closed_is_replaced(admin, engine):
    admin("CREATE OR REPLACE TABLE kept (id INT PRIMARY KEY)", "INSERT INTO kept VALUES (1)")
    source = source_of(engine, "kept")
    with engine.connect() as connection:
        number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
    admin(f"KILL {number}")
    assert list(source.fetch(["1"]).rows) == ["1"]


def test_rows_that_bulk_statements_change_are_asked_for_where_there_is_no_returning(server, listen, touched_rows):
    engine = create_engine(server.url("other"))
    Inventory.__table__.create(engine)
    maker = sessionmaker(engine)
    with maker.begin() as session:
        session.add_all([Inventory(id=n) for n in range(1, 6)])
    listen(maker)
    with maker.begin() as session:
        session.execute(update(Inventory).where(Inventory.id < 3).values(stock=1))
        session.execute(delete(Inventory).where(Inventory.id == 4))
        session.execute(insert(Inventory).values(id=5).on_duplicate_key_update(stock=3))
        session.get_one(Inventory, 3).stock = 2
    engine.dispose()
    assert touched_rows.touched() == {"inv": ["1", "2", "3", "4", "5"]}


def test_query_names_rows_to_schedule(admin, engine):
    admin(
        "CREATE OR REPLACE TABLE stock (price DECIMAL(5,2), day DATE, code VARCHAR(9), PRIMARY KEY (price, day, code))",
        "INSERT INTO stock VALUES (1.5, '2026-11-22', 'a'), (2, '2026-11-23', '%s:x')",
    )
    source = source_of(engine, "stock")
    (hot,) = parse_queries("queries", {"hot": "WITH s AS (SELECT * FROM stock) SELECT price, day, code, 2.5 FROM s"})
    source.check_query(hot)
    wanted = [row for rows in source.stream_query(hot, 1) for row in rows]
    assert sorted(wanted) == [("1.50,2026-11-22,a", 2.5), ("2.00,2026-11-23,%25s:x", 2.5)]
    others = ["1.50,2026-11-22,A", "1.50,2026-11-22,b", "x"]  # A is a to this database
    assert source.find_missing([row_id for row_id, _ in wanted] + others) == others[1:]
    (wrong,) = parse_queries("queries", {"hot": "SELECT nope FROM stock"})
    with pytest.raises(ConfigError, match=r"queries\['hot'\]: cannot run the statement: Unknown column 'nope'"):
        source.check_query(wrong)


def test_server_that_is_read_only_is_taken_for_a_replica(server, admin, engine, caplog):
    assert not is_replica(engine)
    assert not is_pooled(engine)
    admin("SET GLOBAL read_only = 1")
    try:
        assert is_replica(engine)
        fresh = create_source_engine(server.url("other"), statement_timeout_s=5)
        fresh.connect().close()
        fresh.dispose()
    finally:
        admin("SET GLOBAL read_only = 0")
    assert [record.levelname for record in caplog.records if "leads to a replica" in record.getMessage()] == ["WARNING"]


def test_table_that_changes_is_looked_up_again(admin, engine):
    admin("CREATE OR REPLACE TABLE moving (id INT PRIMARY KEY, a INT, b INT)", "INSERT INTO moving VALUES (1, 2, 3)")
    source = source_of(engine, "moving")
    assert list(source.fetch(["1"]).rows["1"]) == [1, 2, 3]
    admin("ALTER TABLE moving DROP COLUMN b")
    assert list(source.fetch(["1"]).rows["1"]) == [1, 2]
    admin("RENAME TABLE moving TO moved")
    with pytest.raises(SourceError, match="no table or view 'moving'"):
        source.fetch(["1"])
    admin("RENAME TABLE moved TO moving", "ALTER TABLE moving CHANGE id code INT, CHANGE a c INT")
    assert list(source.fetch(["1"]).rows["1"]) == [1, 2]


def limited(statement):
    """Change one row at most; SQLAlchemy 2.0 has an option for it, and 2.1 an extension."""
    if hasattr(mysql, "limit"):
        return statement.ext(mysql.limit(1))
    return statement.with_dialect_options(mysql_limit=1, mariadb_limit=1)


def test_update_with_a_limit_reads_no_other_rows_and_is_warned_of_once(server, listen, touched_rows, caplog):
    engine = create_engine(server.url("other"))
    Inventory.__table__.create(engine, checkfirst=True)
    maker = sessionmaker(engine)
    with maker.begin() as session:
        session.execute(delete(Inventory))
        session.add_all([Inventory(id=n) for n in range(1, 6)])
    listen(maker)
    sent = record_statements(engine)
    with maker.begin() as session:
        assert session.execute(limited(update(Inventory).values(stock=1))).rowcount == 1
        assert session.execute(limited(update(Inventory.__table__).values(stock=1))).rowcount <= 1
    engine.dispose()
    assert not [statement for statement in sent if statement.startswith("SELECT")]
    assert touched_rows.touched() == {}
    (line,) = [record.getMessage() for record in caplog.records if "LIMIT" in record.getMessage()]
    assert "touched(session, 'inv', row_ids)" in line


MOMENT = datetime(2026, 1, 2, 3, 4, 5, 500000)
JOB = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
TYPED_KEYS = [
    ("BOOLEAN", "1", 1, "1"),
    ("BINARY(16)", f"x'{JOB.hex}'", JOB.bytes, "a6e4EJ2tEdGAtADAT9QwyA=="),
    ("BINARY(4)", "x'0061'", b"\0a\0\0", "AGEAAA=="),
    ("VARBINARY(9)", "x'00ff2722'", b"\0\xff'\"", "AP8nIg=="),
    ("DATETIME", "'2026-01-02 03:04:05'", MOMENT.replace(microsecond=0), "2026-01-02T03:04:05"),
    ("DATETIME(3)", "'2026-01-02 03:04:05.5'", MOMENT, "2026-01-02T03:04:05.5"),
    ("TIMESTAMP(6)", "'2026-01-02 05:04:05.5'", MOMENT.replace(tzinfo=UTC), "2026-01-02T03:04:05.5Z"),
    ("DATE", "'2026-01-02'", date(2026, 1, 2), "2026-01-02"),
    ("DECIMAL(9,2)", "12.3", Decimal("12.30"), "12.30"),
    ("ENUM('so so','100%')", "'100%'", "100%", "100%"),
    ("SET('a','b')", "'a,b'", "a,b", "a,b"),
    ("UUID", f"'{JOB}'", JOB, str(JOB)),
    ("INET6", "'::1'", "::1", "::1"),
    ("YEAR", "2026", 2026, "2026"),
]


@pytest.mark.parametrize(("sql_type", "literal", "key", "text"), TYPED_KEYS)
def test_row_is_found_by_a_key_of_each_type_alone_and_among_several(admin, engine, sql_type, literal, key, text):
    admin(
        "DROP TABLE IF EXISTS one, two",
        f"CREATE TABLE one (k {sql_type} PRIMARY KEY, n INT)",
        f"INSERT INTO one VALUES ({literal}, 1)",
        f"CREATE TABLE two (n INT, k {sql_type}, PRIMARY KEY (n, k))",
        f"INSERT INTO two VALUES (1, {literal})",
    )
    one, two = source_of(engine, "one", columns=("n",)), source_of(engine, "two", columns=("n",))
    several = row_id(1, key)
    assert row_id(key) == text
    assert row_values(one.fetch([text, "nonsense"])) == {text: (1,)}
    assert row_values(two.fetch([several, row_id(2, key)])) == {several: (1,)}
    assert (list(one.stream_row_ids(9)), list(two.stream_row_ids(9))) == ([[text]], [[several]])
    assert list(one.stream_query(Query("q", "queries['q']", "SELECT k FROM one"), 9)) == [[(text, None)]]
    assert one.find_mistakes([text]) == {}


def test_boolean_is_found_by_true_as_well(admin, engine):
    admin("DROP TABLE IF EXISTS one", "CREATE TABLE one (k BOOLEAN PRIMARY KEY)", "INSERT INTO one VALUES (1)")
    source = source_of(engine, "one")
    assert list(source.fetch(["true", "false", "1"]).rows) == ["true", "1"]
    assert source.find_mistakes(["true"]) == {"true": "it is another text for '1': ask for that"}


PERIOD = "s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END{}"


@pytest.mark.parametrize(
    "columns",
    [
        "",
        f", {PERIOD.format('')}, PERIOD FOR SYSTEM_TIME (s, e)",
        f", {PERIOD.format(' INVISIBLE')}, PERIOD FOR SYSTEM_TIME (s, e)",
    ],
)
def test_system_versioned_table_has_the_key_that_was_declared(admin, engine, columns):
    admin(
        "DROP TABLE IF EXISTS versioned",
        f"CREATE TABLE versioned (id INT PRIMARY KEY, n INT{columns}) WITH SYSTEM VERSIONING",
        "INSERT INTO versioned (id, n) VALUES (7, 1)",
        "UPDATE versioned SET n = 2",
    )
    source = source_of(engine, "versioned")
    assert row_values(source.fetch(["7", "8"]))["7"][:2] == (7, 2)
    assert list(source.stream_row_ids(9)) == [["7"]]


def test_mapped_key_of_a_type_that_drivers_wrap_is_that_of_a_scan(server):
    url = server.url("shop")
    engine = create_engine(url, connect_args={"init_command": "SET time_zone = '+00:00'"})
    hooked, scanned = row_ids_of_a_reading(engine, url, moment=AT)
    engine.dispose()
    assert scanned == [[hooked]]
    assert hooked == "1,2026-01-02T03:04:05.5,2026-01-02T03:04:05.5Z,AP8=,YQAAAA=="


@pytest.mark.parametrize(
    ("sql_type", "values"),
    [
        ("DATETIME(6)", ["'2026-11-30 10:00:00.000001'", "'2026-11-30 10:00:00.000002'"]),
        ("TIMESTAMP(3)", ["'2026-11-30 10:00:00.001'", "'2026-11-30 10:00:00.002'"]),
        ("DECIMAL(40,10)", ["12345678901234567890.1234567890", "12345678901234567890.1234567891"]),
        ("BIGINT UNSIGNED", ["18446744073709551614", "18446744073709551615"]),
    ],
)
def test_changed_rows_are_found_by_a_column_that_grows(admin, engine, monkeypatch, sql_type, values):
    monkeypatch.setattr(watermark, "PAGE", 2)
    admin(
        "DROP TABLE IF EXISTS stock",
        f"CREATE TABLE stock (shop VARCHAR(9), at_day DATE, at {sql_type} NULL, PRIMARY KEY (shop, at_day))",
        "INSERT INTO stock VALUES ('never', '2026-11-30', NULL)",
    )
    rows = watermark.Watermark(engine, Table("inv", "stock"), "at", 10)
    rows.begin()
    for value, shop in zip(values, "ab", strict=True):
        days = [f"2026-11-{day}" for day in range(10, 15)]
        admin(*(f"INSERT INTO stock VALUES ('{shop}', '{day}', {value})" for day in days))
        for expected in ([f"{shop},{day}" for day in days], []):
            assert sorted(row_id for page in rows.changes() for row_id in page) == expected
