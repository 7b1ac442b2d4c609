"""Partitions of a table: the rules that programs in other languages follow."""

import pytest
from redis.crc import key_slot

from rowcache_tasks.config.redis_url import parse_servers_url
from rowcache_tasks.config.settings import Table, parse_settings
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.keys import SLOTS, Keys, partition_of, slot_of, tags_of


@pytest.mark.parametrize(
    ("row_id", "partition"), [("42", 8), ("1", 23), ("7,a%2Cb", 18), ("ż", 19), ("", 0), ("\udcff", 0)]
)
def test_the_partition_of_a_row_is_its_crc32(row_id, partition):
    assert partition_of(row_id, 32) == partition
    assert partition_of(row_id, 1) == 0


def test_tags_are_the_shortest_first_texts_of_even_slots():
    assert tags_of(1) == ("",)
    assert tags_of(2) == ("17p", "356")
    assert tags_of(4) == ("5nw", "h85", "7l1", "b3k")
    assert tags_of(32)[:4] == ("nbd", "o4m", "3el", "23e")
    for count in (2, 64, 1024):
        assert [slot_of(tag) for tag in tags_of(count)] == [int((n + 0.5) * SLOTS / count) for n in range(count)]


@pytest.mark.parametrize("key", ["inv:1", "a{b}c", "{}a", "a{", "{a}{b}", "}a{b}", "a}{", "{a}", "ż{ł}"])
def test_the_slot_of_a_key_is_that_of_the_server(key):
    assert slot_of(key) == key_slot(key.encode())


def test_all_keys_of_a_part_are_in_the_slot_of_its_tag():
    for table in (Table("inv", "inventory", partitions=4), Table("users", "users", "users", partitions=4)):
        for part in table.parts:
            names = [*(getattr(part.keys, name) for name in Keys.__slots__), part.keys.value("42,é")]
            assert {slot_of(name) for name in names} == {slot_of(part.tag)}
    first = Table("inv", "inventory", partitions=4).parts[0].keys
    assert (first.schedule, first.value("42"), first.queue) == ("schedule:{5nw}", b"inv{5nw}:42", "queue:{5nw}")


def test_all_keys_of_a_namespace_in_braces_are_in_one_slot():
    keys = Table("inv", "inventory", "shop{inv}", deployment="east").keys
    names = [*(getattr(keys, name) for name in Keys.__slots__), keys.value("1")]
    assert {slot_of(name) for name in names} == {slot_of("inv")}
    assert (keys.value("1"), keys.queue) == (b"shop{inv}:1", "queue:east{inv}")


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://h:1/2",
        "redis+cluster://h:1,x y/",
        "redis+cluster://h:99999/",
        "redis+cluster://h:1/?nonsense=1",
        "redis+cluster://h:1/ redis://h",
        "redis://h redis://h",
        ["redis://h", 1],
        "http://h redis://h",
    ],
)
def test_a_wrong_url_of_several_servers_is_refused_without_its_password(url):
    if isinstance(url, str):
        url = url.replace("//h", "//u:secret@h")
    with pytest.raises(ConfigError) as caught:
        parse_servers_url("rowcache_redis_url", url)
    assert str(caught.value).startswith("rowcache_redis_url is ")
    assert "secret" not in str(caught.value)


def test_a_server_that_is_none_is_refused_with_all_that_is_allowed():
    with pytest.raises(ConfigError, match=r"'redis://h:99999': .*redis\+sentinel://.*redis\+cluster://"):
        parse_servers_url("rowcache_redis_url", "redis://h:99999")


ONE, SEVERAL, CLUSTER = "redis://h/0", ["redis://h/0", "redis://i/0"], "redis+cluster://h:1,i:2/"


@pytest.mark.parametrize(
    ("url", "options", "reason"),
    [
        (ONE, {"partitions": 12}, "a power of two from 1 to 1024"),
        (ONE, {"partitions": 2048}, "a whole number from 1 to 1024"),
        (ONE, {"partitions": 4, "namespace": "{rows}"}, "leave the braces out"),
        (ONE, {"partitions": 4, "growing_from": 4}, "a table can only grow"),
        (ONE, {"growing_from": 1}, "a table can only grow"),
        (ONE, {"partitions": 4, "growing_from": 2, "replica": True}, "read the primary"),
        (CLUSTER, {"partitions": 4, "growing_from": 1}, "has 'growing_from': 1"),
        (ONE, {"namespace": "a{b}c"}, "for a Redis Cluster, the end in braces"),
        (SEVERAL, {}, "set 'partitions'"),
        (CLUSTER, {}, "set 'partitions'"),
        (CLUSTER, {"partitions": 1}, "set 'partitions'"),
    ],
)
def test_a_table_whose_keys_would_be_on_several_servers_is_refused(url, options, reason):
    with pytest.raises(ConfigError) as caught:
        parse_settings({"rowcache_redis_url": url, "rowcache_tables": {"inv": {"table": "inventory"} | options}})
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"partitions": 4}, {"namespace": "{rows}"}, {"namespace": "shop{rows}"}])
@pytest.mark.parametrize("url", [SEVERAL, CLUSTER])
def test_a_table_with_partitions_or_braces_may_be_on_several_servers(url, options):
    raw = {"rowcache_redis_url": url, "rowcache_tables": {"inv": {"table": "inventory"} | options}}
    settings = parse_settings(raw)
    assert len(settings.tables["inv"].parts) == options.get("partitions", 1)


def test_no_two_tables_have_a_part_on_the_same_keys():
    raw = {"inv": {"table": "a", "partitions": 2}, "other": {"table": "b", "namespace": "{17p}"}}
    with pytest.raises(ConfigError, match="are on the same Redis keys"):
        parse_settings({"rowcache_redis_url": ONE, "rowcache_tables": raw})


def test_the_cap_of_a_table_is_divided_among_its_parts():
    assert [part.max_rate for part in Table("inv", "inventory", partitions=4, max_rate=100.0).parts] == [25.0] * 4
    growing = Table("inv", "inventory", partitions=4, growing_from=2, max_rate=100.0)
    assert [part.max_rate for part in growing.parts] == [12.5] * 4 + [25.0] * 2
