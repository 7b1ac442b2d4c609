"""The table of docs/json.md, value by value, on the real databases."""

import json

import pytest
from sqlalchemy import create_engine

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.errors import EncodingError

ERROR = object()
"""In place of the JSON: the row is refused."""

POSTGRESQL = [
    ("smallint", "-32768", "-32768"),
    ("integer", "42", "42"),
    ("bigint", "9223372036854775807", "9223372036854775807"),
    ("oid", "4294967295", "4294967295"),
    ("boolean", "true", "true"),
    ("boolean", "false", "false"),
    ("text", "NULL", "null"),
    ("numeric", "12.30", '"12.30"'),
    ("numeric(30,10)", "12345678901234567890.1234567890", '"12345678901234567890.1234567890"'),
    ("numeric", "1e30", '"1000000000000000000000000000000"'),
    ("numeric", "'NaN'", '"NaN"'),
    ("numeric", "'-Infinity'", '"-Infinity"'),
    ("double precision", "0.1", "0.1"),
    ("double precision", "1", "1.0"),
    ("double precision", "1e300", "1e300"),
    ("double precision", "'-0'", "-0.0"),
    ("double precision", "0.1::float8 + 0.2", "0.30000000000000004"),
    ("double precision", "'NaN'", ERROR),
    ("double precision", "'-Infinity'", ERROR),
    ("real", "0.1", "0.1"),
    ("real", "16777216", "16777216.0"),
    ("real", "'Infinity'", ERROR),
    ("text", "''", '""'),
    ("text", "'naïve ☃ 🐘'", '"naïve ☃ 🐘"'),
    ("text", "E'quote \" backslash \\\\ tab \\t'", '"quote \\" backslash \\\\ tab \\t"'),
    ("text", "repeat('x', 100000)", '"' + "x" * 100000 + '"'),
    ("varchar(10)", "'ab '", '"ab "'),
    ("char(4)", "'ab'", '"ab  "'),
    ("name", "'ab'", '"ab"'),
    ('"char"', "'a'", '"a"'),
    ("uuid", "'6BA7B810-9DAD-11D1-80B4-00C04FD430C8'", '"6ba7b810-9dad-11d1-80b4-00c04fd430c8"'),
    ("bytea", r"'\x00ff10'", '"AP8Q"'),
    ("date", "'2026-11-22'", '"2026-11-22"'),
    ("date", "'infinity'", '"infinity"'),
    ("date", "'0044-03-15 BC'", ERROR),
    ("date", "'12026-01-01'", ERROR),
    ("timestamp", "'2026-11-22 19:39:19.123456'", '"2026-11-22T19:39:19.123456"'),
    ("timestamp", "'2026-11-22 19:39'", '"2026-11-22T19:39:00"'),
    ("timestamp", "'0044-03-15 12:00 BC'", ERROR),
    ("timestamp", "'12026-01-01 00:00'", ERROR),
    ("timestamp", "'-infinity'", '"-infinity"'),
    ("timestamptz", "'2026-11-22 21:39:19.123456+02'", '"2026-11-22T19:39:19.123456Z"'),
    ("timestamptz", "'0001-01-01 00:00+00'", '"0001-01-01T00:00:00Z"'),
    ("timestamptz", "'infinity'", '"infinity"'),
    ("timestamptz", "'0044-03-15 12:00+00 BC'", ERROR),
    ("timestamptz", "'9999-12-31 23:00-02'", ERROR),
    ("time", "'19:39:19.5'", '"19:39:19.5"'),
    ("time", "'24:00'", '"24:00:00"'),
    ("timetz", "'19:39:19+02'", '"19:39:19+02:00"'),
    ("timetz", "'19:39:19-05:30'", '"19:39:19-05:30"'),
    ("interval", "'1 year 2 months 3 days 04:05:06.7'", '"P1Y2M3DT4H5M6.7S"'),
    ("interval", "'-1 month'", '"P-1M"'),
    ("interval", "'0'", '"PT0S"'),
    ("json", """'{"b": 1,  "a": 12345678901234567890.10}'""", '{"b": 1,  "a": 12345678901234567890.10}'),
    ("jsonb", """'{"b":1,"a":[1e3]}'""", '{"a": [1000], "b": 1}'),
    ("jsonb", """'{"n": 12345678901234567890.10}'""", '{"n": 12345678901234567890.10}'),
    ("jsonb", "'null'", "null"),
    ("json", r"""'{"a": "\u0000", "a": 2}'""", r'{"a": "\u0000", "a": 2}'),
    ("json", r"""'"\ud800"'""", ERROR),
    ("json", "'[1e999]'", ERROR),
    ("jsonb", "'1e5000'", ERROR),
    ("integer[]", "'{1,NULL,3}'", "[1,null,3]"),
    ("integer[]", "'{{1,2},{3,4}}'", "[[1,2],[3,4]]"),
    ("integer[]", "'[0:1]={1,2}'", "[1,2]"),
    ("integer[]", "'{}'", "[]"),
    ("text[]", """'{"a,b","NULL",NULL,"q\\"\\\\"}'""", '["a,b","NULL",null,"q\\"\\\\"]'),
    ("varchar(3)[]", "'{abc}'", '["abc"]'),
    ("char(3)[]", "'{a}'", '["a  "]'),
    ("numeric(6,2)[]", "'{1.50,NaN}'", '["1.50","NaN"]'),
    ("timestamptz[]", "'{2026-11-22 19:39:19+00,infinity,NULL}'", '["2026-11-22T19:39:19Z","infinity",null]'),
    ("timestamptz[]", "'{0044-03-15 12:00+00 BC}'", ERROR),
    ("date[]", "'{2026-11-22}'", '["2026-11-22"]'),
    ("interval[]", "'{1 month}'", '["P1M"]'),
    ("double precision[]", "'{{1.5,NULL}}'", "[[1.5,null]]"),
    ("double precision[]", "'{{1.5,NaN}}'", ERROR),
    ("bytea[]", r"""'{"\\x00ff10"}'""", '["AP8Q"]'),
    ("jsonb[]", """ARRAY['{"a": 1.0}'::jsonb, NULL]""", '[{"a": 1.0},null]'),
    ("boolean[]", "'{t,f}'", "[true,false]"),
    ("uuid[]", "'{6ba7b810-9dad-11d1-80b4-00c04fd430c8}'", '["6ba7b810-9dad-11d1-80b4-00c04fd430c8"]'),
    ("inet[]", "'{10.0.0.1}'", '["10.0.0.1"]'),
    ("bit(3)[]", "'{101}'", '["101"]'),
    ("point[]", """'{"(1,2)"}'""", '["(1,2)"]'),
    ("int4range[]", """'{"[1,3)"}'""", '["[1,3)"]'),
    ("mood", "'so so'", '"so so"'),
    ("mood[]", """'{"so so",NULL,glad}'""", '["so so",null,"glad"]'),
    ("inet", "'10.0.0.1'", '"10.0.0.1"'),
    ("inet", "'10.0.0.1/8'", '"10.0.0.1/8"'),
    ("cidr", "'10.0.0.0/8'", '"10.0.0.0/8"'),
    ("macaddr", "'08:00:2b:01:02:03'", '"08:00:2b:01:02:03"'),
    ("int4range", "'[1,3]'", '"[1,4)"'),
    ("tstzrange", "'[2026-01-01 00:00+00,)'", '"[\\"2026-01-01 00:00:00+00\\",)"'),
    ("numrange", "'empty'", '"empty"'),
    ("datemultirange", "'{[2026-01-01,2026-01-03)}'", '"{[2026-01-01,2026-01-03)}"'),
    ("pair", "'(1,\"a b\")'", '"(1,\\"a b\\")"'),
    ("pair[]", "ARRAY['(1,a)'::pair]", '["(1,a)"]'),
    ("positive", "7", "7"),
    ("positive[]", "'{7,8}'", "[7,8]"),
    ("positives", "'{7,8}'", "[7,8]"),
    ("moment", "'2026-11-22 19:39:19+00'", '"2026-11-22T19:39:19Z"'),
    ("citext", "'Ab'", '"Ab"'),
    ("citext[]", "'{Ab,NULL}'", '["Ab",null]'),
    ("hstore", "'a=>1'", '"\\"a\\"=>\\"1\\""'),
    ("ltree[]", "'{a.b}'", '["a.b"]'),
    ("tsvector", "'fat cat'", "\"'cat' 'fat'\""),
    ("bit(3)", "B'101'", '"101"'),
    ("bit varying", "B'10'", '"10"'),
    ("point", "'(1,2.5)'", '"(1,2.5)"'),
    ("money", "12.5", '"$12.50"'),
    ("regclass", "'pg_class'", '"pg_class"'),
    ("pg_lsn", "'16/B374D848'", '"16/B374D848"'),
    ("int2vector", "'1 2'", '"1 2"'),
    ("jsonpath", "'$.a'", '"$.\\"a\\""'),
]

SQLITE = [
    ("INTEGER", "42", "42"),
    ("INTEGER", "9223372036854775807", "9223372036854775807"),
    ("INTEGER", "NULL", "null"),
    ("INTEGER", "'text'", '"text"'),
    ("REAL", "0.1", "0.1"),
    ("REAL", "1", "1.0"),
    ("REAL", "9e999", ERROR),
    ("TEXT", "'naïve ☃ 🐘'", '"naïve ☃ 🐘"'),
    ("TEXT", "''", '""'),
    ("TEXT", "12", '"12"'),
    ("TEXT", "CAST(x'61ff' AS TEXT)", ERROR),
    ("VARCHAR(5)", "'longer than five'", '"longer than five"'),
    ("BLOB", "x'00ff10'", '"AP8Q"'),
    ("BLOB", "'text'", '"text"'),
    ("", "1.5", "1.5"),
    ("", "-9e999", ERROR),
    ("BOOLEAN", "1", "true"),
    ("BOOLEAN", "0", "false"),
    ("BOOLEAN", "2", ERROR),
    ("BOOLEAN", "'yes'", ERROR),
    ("NUMERIC", "12", '"12"'),
    ("DECIMAL(10,2)", "12.34", '"12.34"'),
    ("DECIMAL(10,2)", "'12.30'", '"12.3"'),
    ("DECIMAL(40,20)", "'0.12345678901234567890'", '"0.12345678901234568"'),
    ("NUMERIC", "'n/a'", '"n/a"'),
    ("NUMERIC", "-9e999", '"-Infinity"'),
    ("DATE", "'2026-11-22'", '"2026-11-22"'),
    ("DATETIME", "'2026-11-22 19:39:19.123456'", '"2026-11-22T19:39:19.123456"'),
    ("TIMESTAMP", "'2026-11-22T19:39:19Z'", '"2026-11-22T19:39:19Z"'),
    ("DATETIME", "'next week'", '"next week"'),
    ("DATETIME", "1795376359", "1795376359"),
    ("DATETIME", "2460000.5", "2460000.5"),
    ("TIME", "'19:39:19'", '"19:39:19"'),
    ("JSON", """'{"a": 12345678901234567890.10}'""", '{"a": 12345678901234567890.10}'),
    ("JSON", "'5'", "5"),
    ("JSON", "'{broken'", ERROR),
    ("JSON", """'[NaN]'""", ERROR),
    ("JSON", "x'1234'", ERROR),
]


@pytest.fixture(scope="module")
def read_postgresql(postgres_url):
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("""
            CREATE EXTENSION citext;
            CREATE EXTENSION hstore;
            CREATE EXTENSION ltree;
            CREATE TYPE mood AS ENUM ('so so', 'glad');
            CREATE TYPE pair AS (n integer, t text);
            CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
            CREATE DOMAIN positives AS positive[];
            CREATE DOMAIN moment AS timestamptz""")
    yield from reader(admin, postgres_url)


@pytest.fixture(scope="module")
def read_sqlite(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'types.db'}"
    yield from reader(create_engine(url, isolation_level="AUTOCOMMIT"), url)


def reader(admin, url):
    """Yield the function that stores a literal in a column of a type and returns the JSON of the column."""
    engine = create_source_engine(url, statement_timeout_s=10)

    def read(sql_type, literal):
        with admin.connect() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS typed")
            connection.exec_driver_sql(f"CREATE TABLE typed (id integer PRIMARY KEY, v {sql_type})")
            connection.exec_driver_sql(f"INSERT INTO typed VALUES (1, {literal})")
        source = Source(engine, Table("typed", "typed", columns=("v",)))
        fetched = source.fetch(["1"])
        assert fetched.errors == {}
        value = fetched.encoder.encode(fetched.rows["1"])
        versions = Source(engine, Table("typed", "typed", version="v")).fetch_versions(["1"])
        assert versions == ({} if value == b'{"v":null}' else {"1": value[:-1] + b","}), "a version has the same form"
        return value.decode()

    yield read
    engine.dispose()
    admin.dispose()


def check(read, sql_type, literal, expected):
    if expected is ERROR:
        with pytest.raises(EncodingError, match="column 'v': "):
            read(sql_type, literal)
        return
    found = read(sql_type, literal)
    assert found == f'{{"v":{expected}}}'
    json.loads(found)


@pytest.mark.parametrize(("sql_type", "literal", "expected"), POSTGRESQL)
def test_postgresql_value_has_the_documented_json(read_postgresql, sql_type, literal, expected):
    check(read_postgresql, sql_type, literal, expected)


@pytest.mark.parametrize(("sql_type", "literal", "expected"), SQLITE)
def test_sqlite_value_has_the_documented_json(read_sqlite, sql_type, literal, expected):
    check(read_sqlite, sql_type, literal, expected)
