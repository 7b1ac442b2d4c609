"""Doctor on several servers: each wrong set-up is named in one line, with what to do."""

import pytest
from prometheus_client import CollectorRegistry
from support.cluster import Cluster
from support.examined import examine
from support.faketime import faked_clock
from support.free_port import free_port
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks.config.settings import Table, parse_settings
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.ops.cli.status import Status
from rowcache_tasks.ops.doctor import examine_processes
from rowcache_tasks.ops.metrics import RowCacheCollector
from rowcache_tasks.ops.overview import read_overview
from rowcache_tasks.ops.problem import find_problems
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


@pytest.fixture(scope="module")
def cluster():
    with Cluster(2) as nodes:
        yield nodes


def test_slots_that_no_node_serves_are_named_and_all_parts_that_can_be_are_checked(cluster):
    first, second = cluster.clients
    assert examine(cluster.url, "cluster", partitions=8) == []
    wrong = next(
        part.keys.delay for part in Table("inv", "inventory", partitions=8).parts if cluster.owner(part.keys.delay)
    )
    slots = range(100)
    for node in cluster.clients:
        node.execute_command("CLUSTER", "DELSLOTS", *slots)
        node.config_set("cluster-require-full-coverage", "no")
    second.set(wrong, "1")
    try:
        (missing,) = examine(cluster.url, "cluster", partitions=8)
        assert missing == (
            "fail cluster: 100 of 16,384 slots have no node: rows of their partitions are neither read nor refreshed: "
            "start the node that had them, or assign them (redis-cli --cluster fix)"
        )
        assert len(examine(cluster.url, "key", partitions=8)) == 1
    finally:
        second.delete(wrong)
        first.execute_command("CLUSTER", "ADDSLOTS", *slots)
        wait_until(lambda: all(map(cluster.is_ready, cluster.clients)), "all slots are served")


def test_cluster_that_refuses_everything_since_a_slot_has_no_node_is_named(cluster):
    for node in cluster.clients:
        node.config_set("cluster-require-full-coverage", "yes")
        node.execute_command("CLUSTER", "DELSLOTS", 1)
    wait_until(lambda: not any(map(cluster.is_ready, cluster.clients)), "the cluster is down")
    try:
        missing, *strict = examine(cluster.url, "cluster", partitions=8)
    finally:
        cluster.clients[0].execute_command("CLUSTER", "ADDSLOTS", 1)
        for node in cluster.clients:
            node.config_set("cluster-require-full-coverage", "no")
        wait_until(lambda: all(map(cluster.is_ready, cluster.clients)), "all slots are served")
    found = {line.partition(": ")[2].partition(" ")[0] for line in (missing, *strict)}
    assert found == {"1", "cluster-require-full-coverage"}


def test_slots_that_are_uneven_are_named(cluster):
    cluster.clients[1].execute_command("CLUSTER", "BUMPEPOCH")  # gossip of the other, sent before, must not win
    for slot in range(3000):
        cluster.clients[1].execute_command("CLUSTER", "SETSLOT", slot, "NODE", cluster.node_id(1))
        cluster.clients[0].execute_command("CLUSTER", "SETSLOT", slot, "NODE", cluster.node_id(1))
    (uneven,) = examine(cluster.url, "cluster", partitions=8)
    least, most = (f"redis://127.0.0.1:{port}/" for port in cluster.ports)
    assert uneven == (
        f"warn cluster: {most} serves 11,192 slots and {least} 5,192, and as many more rows: "
        "move slots (redis-cli --cluster rebalance)"
    )


def scrape(settings, client):
    registry = CollectorRegistry()
    registry.register(RowCacheCollector(client, settings))
    return registry.get_sample_value


def test_metrics_count_no_fault_of_a_server_that_is_a_node_of_a_cluster():
    with Cluster(1) as cluster:
        settings = parse_settings(
            {"rowcache_redis_url": cluster.url, "rowcache_tables": {"inv": {"table": "inventory", "partitions": 4}}}
        )
        with connect(settings.redis_url, "test") as client:
            assert scrape(settings, client)("rowcache_redis_faults") == 0


def test_table_whose_server_is_away_is_called_neither_well_nor_empty():
    port, other_port = free_port(), free_port()
    with Valkey(args=("--port", str(port))), Valkey(args=("--port", str(other_port))) as other:
        settings = parse_settings(
            {
                "rowcache_redis_url": f"redis://127.0.0.1:{port}/0 redis://127.0.0.1:{other_port}/0",
                "rowcache_tables": {
                    name: {"table": "inventory", "namespace": f"{name}{{{tag}}}"} for name, tag in (("a", 1), ("b", 3))
                },
            }
        )
        with connect(settings.redis_url, "test") as client:
            places = {name: client.node_of(table.keys.schedule) for name, table in settings.tables.items()}
            assert places["a"] != places["b"]
            away = next(name for name, node in places.items() if str(other_port) in node.name)
            for name, table in settings.tables.items():
                client.zadd(table.keys.schedule, {"1": 1})
                assert scrape(settings, client)("rowcache_scheduled_rows", {"table": name}) == 1
            other.stop()
            lines = [f"{found.level} {found.text}" for found in examine_processes(client, settings, None)]
            assert [line for line in lines if line.startswith(f"ok {away}: ")] == []
            assert any(f"127.0.0.1:{other_port}" in line and line.startswith("fail ") for line in lines)
            assert scrape(settings, client)("rowcache_scheduled_rows", {"table": away}) is None
            found = Status(read_overview(client, settings), None, [])
            figures = found.as_json()["tables"][away]
            assert {figures[name] for name in ("scheduled", "overdue", "committed", "age_p50", "demand")} == {None}
            assert f"{away:<7}        -" in "\n".join(found.page())


def test_processes_whose_notes_are_on_a_server_that_is_away_are_not_called_dead():
    with Valkey() as one, Valkey() as two:
        url = f"{one.url} {two.url}"
        tables = {"inv": {"table": "inventory", "partitions": 8}}
        settings = parse_settings({"rowcache_redis_url": url, "rowcache_tables": tables})
        with connect(url, "test") as client:
            for part in settings.tables["inv"].parts:
                client.zadd(part.keys.schedule, {"1": 1})
            alive = [f"{kind}s: none is alive" for kind in ("dispatcher", "worker")]
            lines = [found.text for found in find_problems(read_overview(client, settings))]
            assert [text for text in alive if any(line.startswith(text) for line in lines)] == alive
            noted = client.node_of(settings.names.processes).name
            (one if noted == one.url else two).stop()
            lines = [found.text for found in find_problems(read_overview(client, settings))]
            assert [line for line in lines if "none is alive" in line or "restart it" in line] == []
            (unknown,) = [line for line in lines if line.startswith("processes: ")]
            assert unknown.startswith(f"processes: {noted} is away: ")
            assert unknown.endswith(": it has their notes, so it is not known which are alive: start it")
            assert Status(read_overview(client, settings), None, []).page()
            scraped = scrape(settings, client)
            assert scraped("rowcache_redis_faults") is not None
            assert [scraped(f"rowcache_{name}") for name in ("dispatchers", "workers", "silent_processes")] == [
                None
            ] * 3


def test_server_of_old_keys_of_a_table_that_grows_may_be_away():
    with Valkey() as one, Valkey() as two:
        url, table = f"{one.url} {two.url}", Table("inv", "inventory", partitions=16)
        with connect(url, "test") as client:
            keys = [part.keys.delay for part in table.parts]
            wrong = next(key for key in keys if client.node_of(key).name == one.url)
            client.set(wrong, "1")
        two.stop()
        assert examine(url, "partitions", partitions=16, growing_from=8) == []
        assert len(examine(url, "key", partitions=16, growing_from=8)) == 1
