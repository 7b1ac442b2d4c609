"""Client of several servers: each command goes to the server of its key.

The nodes of a cluster, or a list of servers of which each has an even part of the slots. The script of a part of a
table has all its keys in one slot. Each node has a client of its own, as one server has. A node that does not answer is
away: its commands fail at once, until it answers a question that a thread asks now and then.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.exceptions import MovedError, NoScriptError, TryAgainError

from rowcache_tasks.config.table import Table
from rowcache_tasks.keys import DeploymentNames
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.fan import ServersExchange, ServersPipeline
from rowcache_tasks.schedule.node import Node, NodeAwayError, NoNode, key_of
from rowcache_tasks.schedule.script import Command, with_text
from rowcache_tasks.schedule.slot_map import MOVING_PAUSE_S, TRIES, SlotMap, is_ask

NODE_TIMEOUT_S = 1.0
"""Of several servers: one that is away holds up a process for so long, once."""


class Servers(SlotMap, redis.Redis):
    """Client of several servers. Commands without a key go to the first that is not away. Thread-safe and fork-safe.

    Raises NodeAwayError; redis.TryAgainError for a slot that is being moved.
    """

    def __init__(self, urls: Sequence[str], open_node: "Callable[[str], redis.Redis]", *, is_cluster: bool) -> None:
        SlotMap.__init__(self, urls, open_node, is_cluster=is_cluster)
        redis.Redis.__init__(self, connection_pool=self.home.connection_pool)

    def nodes(self) -> list[Node]:
        """Return the servers; of a cluster the primaries."""
        self._know_slots()
        return self.served_nodes()

    def node_of(self, key: str | bytes | None) -> Node:
        """Return the node that serves a key; without a key, the first that is not away."""
        self._know_slots()
        return self.serving(key)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the node of its key."""
        return self.follow(key_of(args), lambda client: client.execute_command(*args, **options), args)

    def read_again(self, command: Command, refusal: Any) -> Any:
        """Send a command that was refused since its slot moves; return its reply or its error.

        Of several values, some may have moved already: they are read one by one.
        """
        try:
            if command[0] == "MGET" and not isinstance(refusal, MovedError):
                return [self.execute_command("MGET", key)[0] for key in command[1:]]
            return self.execute_command(*command)
        except NoScriptError:
            return self.read_again(with_text(command), None)
        except redis.RedisError as error:
            return error

    def follow(self, key: Any, send: "Callable[[Any], Any]", command: Command = ()) -> Any:
        """Send with the client of a node; again with that of the next if the slot has moved.

        Raises TryAgainError when the slot is being moved and there is no command, which could go to the new node.
        """
        node, is_asking = self.node_of(key), False
        for left in reversed(range(TRIES)):
            try:
                with node as client:
                    return ask(client, command) if is_asking else send(client)
            except redis.ResponseError as error:
                if is_ask(error) and not command:
                    raise TryAgainError(str(error)) from error
                node, is_asking = self.redirected(error, node, key, left)
            time.sleep(0 if left > TRIES - 3 else MOVING_PAUSE_S)
        raise AssertionError

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "ServersPipeline":
        """Return a pipeline; a transaction has all its keys in one slot."""
        return ServersPipeline(self, self, transaction=transaction)

    def check_later(self) -> None:
        """Ask the nodes that are away, and for the slots, soon and in a thread."""
        if self.is_check_due():
            threading.Thread(target=self._check, name="rowcache-servers", daemon=True).start()

    def _check(self) -> None:
        for node in self.asked_nodes():
            if node.away:
                try:
                    node.client.ping()
                    node.away = ""
                except redis.RedisError as error:
                    node.away = str(error)
        if self.is_cluster:
            try:
                self._find_slots()
            except redis.RedisError:
                return  # asked again at the next command

    def _know_slots(self) -> None:
        if not self.has_slots:
            self._find_slots()

    def _find_slots(self) -> None:
        """Ask any node for the slots. Raises the last error."""
        last: Exception = redis.ConnectionError("the cluster has no nodes")
        for node in self.asked_nodes():
            try:
                client: Any = node.client
                self.take_slots(node, client.execute_command("CLUSTER", "SLOTS"))
            except redis.RedisError as error:
                last = error
            else:
                return
        raise last

    def first_info(self) -> Any:
        """Return INFO of the first server that answers. Raises NodeAwayError."""
        last: Exception = NodeAwayError("no server answers")
        for node in self.nodes():
            try:
                with node as client:
                    return client.info()
            except NodeAwayError as error:
                last = error
        raise last

    def disconnect(self) -> None:
        """Close the connections that are not in use."""
        for node in self.asked_nodes():
            node.client.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close the connections to all nodes."""
        for node in self.asked_nodes():
            node.client.close()


def ask(client: Any, command: Command) -> Any:
    """Send a command to the node that its slot is being moved to. Raises its error."""
    with client.pipeline(transaction=False) as pipeline:
        pipeline.execute_command("ASKING")
        pipeline.execute_command(*command)
        reply = pipeline.execute(raise_on_error=False)[-1]
    if isinstance(reply, Exception):
        raise reply
    return reply


def open_exchange(client: "redis.Redis") -> Exchange:
    """Return an exchange with the server, or with the servers, of a client."""
    return ServersExchange(client, client) if isinstance(client, Servers) else Exchange(client)


def by_node(client: "redis.Redis", parts: Sequence[Table]) -> list[tuple[Node, list[Table]]]:
    """Return the parts of tables by the node that serves them; of one server all.

    A part of a slot that no node serves has a node that is away.
    """
    if not isinstance(client, Servers):
        return [(Node("", client), [*parts])]
    found: dict[Node, list[Table]] = {}
    nowhere = NoNode("slots without a node", None)
    for part in parts:
        try:
            node = client.node_of(part.keys.schedule)
        except NodeAwayError as error:
            node, nowhere.away = nowhere, str(error)
        found.setdefault(node, []).append(part)
    return [*found.items()]


def node_of(client: "redis.Redis", key: str) -> Node:
    """Return the node that serves a key."""
    return client.node_of(key) if isinstance(client, Servers) else Node("", client)


def send_to(client: "redis.Redis", key: str, send: "Callable[[redis.Redis], Any]") -> Any:
    """Send with the client of the server of a key; again with that of another if its slot has moved."""
    return client.follow(key, send) if isinstance(client, Servers) else send(client)


def wake_home(client: "redis.Redis", deployment: str) -> None:
    """Wake a dispatcher of several servers. Without it, the dispatcher looks within its poll interval."""
    if isinstance(client, Servers):
        home = DeploymentNames.of(deployment).home
        pipeline = client.pipeline(transaction=False)
        pipeline.rpush(home, "1")
        pipeline.ltrim(home, -4, -1)
        with suppress(redis.RedisError):
            pipeline.execute()
