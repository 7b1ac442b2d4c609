"""The queries of the settings: one SELECT each, named, and never in a message."""

import pytest

from rowcache_tasks.config.query import Query, parse_queries
from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.errors import ArgumentError, ConfigError


def table_with(queries):
    tables = {"inv": {"table": "inventory", "queries": queries}}
    return parse_settings({"rowcache_redis_url": "redis://localhost/0", "rowcache_tables": tables}).table("inv")


def test_queries_are_read_without_the_semicolon_at_their_end():
    table = table_with({"hot": " SELECT id FROM inventory WHERE sold > 10 ; \n", "top": "with t AS (…) SELECT 1"})
    setting = "rowcache_tables['inv']['queries']['hot']"
    assert table.query("hot") == Query("hot", setting, "SELECT id FROM inventory WHERE sold > 10")
    assert table.query("top").sql == "with t AS (…) SELECT 1"


def test_table_without_queries_has_none():
    assert table_with(None).queries == table_with({}).queries == ()


def test_unknown_query_is_an_error_that_lists_the_queries():
    with pytest.raises(ArgumentError) as caught:
        table_with({"hot": "SELECT 1", "top": "SELECT 2"}).query("cold")
    assert str(caught.value) == "query 'cold' is not in rowcache_tables['inv']['queries']: found 'hot', 'top'"
    with pytest.raises(ArgumentError, match=r"query \[\] is not in .*: found none"):
        table_with({}).query([])


@pytest.mark.parametrize(
    "sql",
    [
        "",
        " ",
        5,
        None,
        b"SELECT 1",
        "DELETE FROM inventory",
        "SELECTED",
        "SELECT 1; DELETE FROM inventory",
        "EXPLAIN SELECT 1",
        "SELECT '\0'",
        "SELECT '\udcff'",
    ],
)
def test_what_is_not_one_select_is_refused(sql):
    with pytest.raises(ConfigError, match=r"^rowcache_tables\['inv'\]\['queries'\]\['hot'\] is .*: allowed is one"):
        table_with({"hot": sql})


@pytest.mark.parametrize("name", ["", 5, None, "a\nb", "x" * 101])
def test_name_of_a_query_is_a_short_text(name):
    with pytest.raises(ConfigError, match="a query's name must be a non-empty string of up to 100"):
        parse_queries("queries", {name: "SELECT 1"})


@pytest.mark.parametrize("raw", ["SELECT 1", ["SELECT 1"], 5, True])
def test_what_is_no_dictionary_is_refused(raw):
    with pytest.raises(ConfigError, match=r"rowcache_tables\['inv'\]\['queries'\] is .*: allowed is a dictionary like"):
        table_with(raw)
