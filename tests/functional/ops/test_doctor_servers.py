"""Doctor on several servers: each wrong set-up is named in one line, with what to do."""

import pytest
from support.examined import examine
from support.faketime import faked_clock
from support.free_port import free_port
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.layout import check_layout


def test_clocks_of_servers_and_replicas_that_are_apart_are_named(tmp_path, monkeypatch):
    port, replica_port = free_port(), free_port()
    with monkeypatch.context() as environment:
        faked_clock(environment, tmp_path / "later", 5)
        second = Valkey()
        second.start()
        faked_clock(environment, tmp_path / "latest", 10)
        replica = Valkey(args=("--port", str(replica_port)))
        replica.start()
    with Valkey(args=("--port", str(port), "--repl-diskless-sync-delay", "0")) as first, second, replica:
        url = f"redis://127.0.0.1:{port}/0 {second.url}"
        (apart,) = examine(url, "clocks", partitions=8)
        assert apart.startswith(f"warn clocks: {second.url} is 5.0 s ahead of redis://127.0.0.1:{port}/0: ")
        assert apart.endswith(": correct them (NTP)")
        with connect(replica.url, "test") as client, connect(first.url, "test") as primary:
            client.replicaof("127.0.0.1", port)
            wait_until(lambda: primary.info("replication")["connected_slaves"], "the replica is connected")
        (apart,) = examine(url, "clocks", partitions=8)
        assert apart.startswith(f"warn clocks: replica 127.0.0.1:{replica_port} is 10.0 s ahead of ")


def test_partitions_that_the_settings_have_changed_are_named(valkey, client):
    (table,) = parse_settings(
        {"rowcache_redis_url": valkey.url_for(9), "rowcache_tables": {"inv": {"table": "inventory", "partitions": 4}}}
    ).tables.values()
    assert check_layout(client, table) == ""
    assert examine(valkey.url_for(9), "partitions", partitions=4) == []
    (changed,) = examine(valkey.url_for(9), "partitions", partitions=8)
    assert changed.startswith(
        "fail partitions: rowcache_tables['inv']['partitions'] is 8, and its keys in Redis have 4: "
    )


@pytest.mark.parametrize("url", ["redis+cluster://127.0.0.1:1,127.0.0.1:2/", "redis://a/0 redis://b/0"])
def test_table_without_partitions_and_braces_on_several_servers_is_named(url):
    with pytest.raises(ConfigError, match=r"has neither 'partitions' nor a namespace with braces.*: set "):
        examine(url, "partitions")
