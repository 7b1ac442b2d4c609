"""Nodes of a Valkey cluster on loopback."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.free_port import free_port
from support.waiting import wait_until

from demo.servers import Valkey
from rowcache_tasks.keys import SLOTS, slot_of


class Cluster:
    """`masters` nodes with even shares of the slots, each with `replicas` replicas.

    `full_coverage`: the nodes refuse everything while a slot has no node, as is the default of the server.
    """

    def __init__(self, masters=3, replicas=0):
        self.masters = masters
        count = masters * (1 + replicas)
        self.ports, self._bus_ports = [free_port() for _ in range(count)], [free_port() for _ in range(count)]
        self.servers = [Valkey(args=self._options(*both)) for both in zip(self.ports, self._bus_ports, strict=True)]
        # By default, redis-py tries to reach a node that was killed for some seconds at each command.
        self.clients = [redis.Redis(port=port, retry=Retry(NoBackoff(), 1)) for port in self.ports]

    @staticmethod
    def _options(port, bus):
        options = {
            "port": port,
            "cluster-port": bus,
            "cluster-enabled": "yes",
            "cluster-node-timeout": 2000,
            "cluster-require-full-coverage": "no",
            "cluster-allow-replica-migration": "no",
            "repl-diskless-sync-delay": 0,
            "save": "",
        }
        return [word for name, value in options.items() for word in (f"--{name}", str(value))]

    @property
    def url(self):
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.ports) + "/"

    def __enter__(self):
        for server in self.servers:
            server.start()
        first = self.clients[0]
        for number, client in enumerate(self.clients[: self.masters]):
            share = SLOTS * number // self.masters, SLOTS * (number + 1) // self.masters - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", *share)
        for port, bus in zip(self.ports, self._bus_ports, strict=True):
            first.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
        wait_until(
            lambda: {self.info(client, "known_nodes") for client in self.clients} == {str(len(self.ports))}, "all meet"
        )
        for number, client in enumerate(self.clients[self.masters :]):
            client.execute_command("CLUSTER", "REPLICATE", self.node_id(number % self.masters))
        wait_until(lambda: all(map(self.is_ready, self.clients)), "the cluster is ready")
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.close()
        for server in self.servers:
            server.stop()

    def info(self, client, field):
        return client.execute_command("CLUSTER INFO")[f"cluster_{field}"]

    def is_ready(self, client):
        return self.info(client, "state") == "ok" and self.info(client, "slots_assigned") == str(SLOTS)

    def node_id(self, number):
        return self.clients[number].execute_command("CLUSTER", "MYID")

    def owner(self, key):
        """Return the number of the node that serves a key, by the slots of any node that answers."""
        slot = slot_of(key)
        for client in self.clients:
            try:
                found = client.execute_command("CLUSTER", "SLOTS")
            except redis.RedisError:
                continue
            for first, last, (_, port, *_), *_ in found:
                if first <= slot <= last:
                    return self.ports.index(port)
        return None

    def begin_move(self, slot, source, target):
        """Let a slot be moved in the legacy way: nothing is moved yet."""
        self.clients[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.node_id(source))
        self.clients[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.node_id(target))

    def move_keys(self, slot, source, target, count=1000):
        """Move up to `count` keys of a slot; returns how many were moved."""
        keys = self.clients[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, count)
        if keys:
            command = ["MIGRATE", "127.0.0.1", self.ports[target], "", 0, 5000, "KEYS", *keys]
            self.clients[source].execute_command(*command)
        return len(keys)

    def end_move(self, slot, target):
        """Name the new node of a slot at all nodes, at that node first."""
        for number in (target, *(other for other in range(self.masters) if other != target)):
            self.clients[number].execute_command("CLUSTER", "SETSLOT", slot, "NODE", self.node_id(target))

    def move(self, slot, source, target):
        """Move a slot with all its keys."""
        self.begin_move(slot, source, target)
        while self.move_keys(slot, source, target):
            pass
        self.end_move(slot, target)
