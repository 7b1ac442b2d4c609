"""Doctor on several servers: each wrong set-up is named in one line, with what to do."""

import pytest
from support.failover_pair import free_port
from support.faketime import faked_clock
from support.sentinels import MASTER, Sentinels
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.ops.doctor import examine_keyspace
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.layout import check_layout


def examine(url, about, replicas=0, **table):
    """Return the findings of a deployment about something, without those that are well."""
    tables = {"inv": {"table": "inventory", **table}}
    settings = parse_settings({"rowcache_redis_url": url, "rowcache_tables": tables, "rowcache_replicas": replicas})
    with connect(settings.redis_url, "test") as client:
        found = [f"{f.level} {f.text}" for f in examine_keyspace(settings, client)]
    return [line for line in found if line.split()[1] == f"{about}:" and not line.startswith("ok ")]


def test_sentinels_without_a_quorum_and_a_primary_that_writes_alone_are_named(tmp_path):
    with Sentinels(tmp_path) as sentinels:
        url = sentinels.url()
        (away,) = examine(url, "sentinels")
        assert away.startswith("warn sentinels: 127.0.0.1:1 does not answer: Error 111 connecting to 127.0.0.1:1. ")
        assert away.endswith(": start it, or take it out of rowcache_redis_url")

        (alone,) = examine(url, "replicas")
        assert alone.startswith(
            "warn replicas: min-replicas-to-write is 0: a primary that is cut off from its replicas "
        )
        assert alone.endswith(": CONFIG SET min-replicas-to-write 1, at each server of the pair")
        sentinels.pair.command(sentinels.pair.primary, "CONFIG", "SET", "min-replicas-to-write", 1)
        assert examine(url, "replicas", replicas=1) == []
        (few,) = examine(url, "replicas", replicas=2)
        assert few == (
            "fail replicas: 1 connected and rowcache_replicas is 2, so every schedule change waits: "
            "start or connect the others, or lower the setting"
        )

        for child in sentinels.children[1:]:
            child.kill()

        def quorum():
            return [line for line in examine(url, "sentinels") if line.startswith("fail")]

        (lost,) = wait_until(quorum, "the last Sentinel misses the others")
        assert lost.startswith(f"fail sentinels: 127.0.0.1:{sentinels.ports[0]} cannot fail '{MASTER}' over: NOQUORUM ")
        assert lost.endswith(": start the other Sentinels, or lower the quorum (SENTINEL SET)")


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
