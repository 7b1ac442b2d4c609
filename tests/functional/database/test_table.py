"""Choice of table, key and columns, on real PostgreSQL and SQLite."""

import pytest
from support.scratch_database import CREATE_USERS

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.errors import ConfigError, SourceError


def test_chosen_columns_come_in_their_order_without_the_key(db):
    db.run(*CREATE_USERS)
    source = db.source("users", columns=("note", "name"))
    fetched = source.fetch(["42"])
    assert fetched.encoder.encode(fetched.rows["42"]) == b'{"note":"x","name":"Bob"}'


def test_table_in_a_schema_with_names_that_need_quotes(pg):
    pg.run(
        "CREATE SCHEMA app",
        """CREATE TABLE app."Order" ("select" integer PRIMARY KEY, "a ""b" text, "c%d" text, "e:f" text)""",
    )
    pg.run("""INSERT INTO app."Order" VALUES (1, 'x', 'y', 'z')""")
    source = pg.source("app.Order")
    fetched = source.fetch(["1"])
    assert fetched.encoder.encode(fetched.rows["1"]) == b'{"select":1,"a \\"b":"x","c%d":"y","e:f":"z"}'
    assert list(source.stream_row_ids(5)) == [["1"]]
    assert source.count_rows() == 1


@pytest.mark.parametrize(
    ("table", "options"),
    [
        *[("v1.2", {}), ("public.v1.2", {}), ('"v1.2"', {}), ('public."v1.2"', {}), ("v1.2", {"schema": "public"})],
        *[("App.One.100%", {}), ('"App.One"."100%"', {}), ("100%", {"schema": "App.One"})],
    ],
)
def test_table_or_schema_with_a_dot_in_its_name_is_found(pg, table, options):
    pg.run('CREATE TABLE "v1.2" (id integer PRIMARY KEY)', 'INSERT INTO "v1.2" VALUES (1)')
    pg.run('DROP SCHEMA IF EXISTS "App.One" CASCADE', 'CREATE SCHEMA "App.One"')
    pg.run('CREATE TABLE "App.One"."100%" (id integer PRIMARY KEY)', 'INSERT INTO "App.One"."100%" VALUES (1)')
    source = pg.source(table, **options)
    assert list(source.fetch(["1", "2"]).rows) == ["1"]
    assert list(source.stream_row_ids(5)) == [["1"]]


def test_name_that_may_be_two_tables_is_that_of_a_schema_unless_the_settings_say_so(pg):
    pg.run("CREATE SCHEMA app", "CREATE TABLE app.item (a integer PRIMARY KEY)", "INSERT INTO app.item VALUES (1)")
    pg.run('CREATE TABLE "app.item" (b integer PRIMARY KEY)', 'INSERT INTO "app.item" VALUES (2)')
    assert list(pg.source("app.item").stream_row_ids(5)) == [["1"]]
    assert list(pg.source("app.item", schema="public").stream_row_ids(5)) == [["2"]]
    with pytest.raises(ConfigError, match=r"no table or view 'item'"):
        pg.source("item", schema="public").load()


def test_table_in_an_attached_schema_of_sqlite(sqlite):
    sqlite.run(*CREATE_USERS)
    assert list(sqlite.source("main.users").fetch(["1"]).rows) == ["1"]


@pytest.mark.parametrize(
    ("table", "options"), [("a.b", {}), ('"a.b"', {}), ("MAIN.a.b", {}), ("a.b", {"schema": "main"})]
)
def test_table_with_a_dot_in_its_name_is_found_in_sqlite(sqlite, table, options):
    sqlite.run('CREATE TABLE "a.b" (id integer PRIMARY KEY)', 'INSERT INTO "a.b" VALUES (1)')
    source = sqlite.source(table, **options)
    assert list(source.fetch(["1", "2"]).rows) == ["1"]
    assert list(source.stream_row_ids(5)) == [["1"]]


@pytest.mark.parametrize(("table", "options"), [("none.users", {}), ("users", {"schema": "none"})])
def test_unknown_schema_of_sqlite_is_one_line(sqlite, table, options):
    sqlite.run(*CREATE_USERS)
    with pytest.raises(ConfigError, match=rf"no table or view '{table}': there are no tables"):
        sqlite.source(table, **options).load()


@pytest.mark.parametrize("table", [".users", "users."])
def test_name_with_an_empty_part_is_another_table(db, table):
    db.run(*CREATE_USERS)
    with pytest.raises(ConfigError, match=rf"no table or view '{table}': did you mean users\?"):
        db.source(table).load()


def test_view_needs_a_key(db):
    db.run(*CREATE_USERS, "CREATE VIEW names AS SELECT user_id, name FROM users")
    with pytest.raises(ConfigError, match=r"rowcache_tables\['inv'\]: 'names' has no primary key: .* of user_id, name"):
        db.source("names").load()
    assert list(db.source("names", key=("user_id",)).fetch(["1"]).rows) == ["1"]


def test_materialized_view(pg):
    pg.run(*CREATE_USERS, "CREATE MATERIALIZED VIEW names AS SELECT user_id, name FROM users")
    assert list(pg.source("names", key=("user_id",)).fetch(["1"]).rows) == ["1"]
    with pytest.raises(ConfigError, match="did you mean names"):
        pg.source("name_s").load()


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("user", {}, "rowcache_tables['inv']['table']: the database has no table or view 'user': did you mean users?"),
        ("zzz", {}, "rowcache_tables['inv']['table']: the database has no table or view 'zzz': allowed are users"),
        (
            "users",
            {"columns": ("nmae",)},
            "rowcache_tables['inv']['columns']: 'users' has no column 'nmae': did you mean name?",
        ),
        (
            "users",
            {"key": ("zzz",)},
            "rowcache_tables['inv']['key']: 'users' has no column 'zzz': allowed are user_id, name, note",
        ),
    ],
)
def test_settings_that_do_not_fit_are_one_line(db, table, options, message):
    db.run(*CREATE_USERS)
    with pytest.raises(ConfigError) as caught:
        db.source(table, **options).load()
    assert str(caught.value) == message


def test_unknown_table_of_a_schema_lists_that_schema(pg):
    pg.run("CREATE SCHEMA app", "CREATE TABLE app.orders (id integer PRIMARY KEY)", *CREATE_USERS)
    with pytest.raises(ConfigError, match=r"no table or view 'app\.users': allowed are orders"):
        pg.source("app.users").load()
    with pytest.raises(ConfigError, match=r"no table or view 'none\.users': there are no tables"):
        pg.source("none.users").load()


def test_columns_that_the_role_may_read_are_enough(pg, postgres_url):
    pg.run(
        *CREATE_USERS,
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN",
        "GRANT USAGE ON SCHEMA public TO reader",
    )
    pg.run("GRANT SELECT (user_id, name) ON users TO reader")
    engine = create_source_engine(postgres_url.replace("postgres@", "reader@", 1), statement_timeout_s=5)
    assert list(Source(engine, Table("inv", "users", columns=("name",), key=("user_id",))).fetch(["1"]).rows) == ["1"]
    with pytest.raises(SourceError, match="permission denied for table users"):
        Source(engine, Table("inv", "users", key=("user_id",))).fetch(["1", "2"])
    engine.dispose()
    pg.run("DROP OWNED BY reader", "DROP ROLE reader")


def test_percent_sign_in_the_name_of_a_table_is_no_mark_of_a_parameter(pg):
    pg.run('CREATE TABLE "pct%" (id integer PRIMARY KEY)', 'INSERT INTO "pct%" VALUES (1)')
    pg.run('CREATE TABLE "a%%b(x)s" (id integer PRIMARY KEY)', 'INSERT INTO "a%%b(x)s" VALUES (2)')
    assert list(pg.source("pct%").fetch(["1"]).rows) == ["1"]
    assert list(pg.source("a%%b(x)s").fetch(["2"]).rows) == ["2"]
