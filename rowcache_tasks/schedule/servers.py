"""Client of several servers: each command goes to the server of its key.

The nodes of a cluster, or a list of servers of which each has an even part of the slots. The script of a part of a
table has all its keys in one slot. Each node has a client of its own, as one server has. A node that does not answer is
away: its commands fail at once, until it answers a question that a thread asks now and then.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.exceptions import AskError, MovedError, NoScriptError

from rowcache_tasks.config.table import Table
from rowcache_tasks.errors.text import redact
from rowcache_tasks.keys import SLOTS, slot_of
from rowcache_tasks.schedule.exchange import Command, Exchange
from rowcache_tasks.schedule.fan import ServersExchange, ServersPipeline
from rowcache_tasks.schedule.node import Node, NodeAwayError, is_moving, key_of
from rowcache_tasks.schedule.script import with_text

NODE_TIMEOUT_S = 1.0
"""Of several servers: one that is away holds up a process for so long, once."""
CHECK_S = 0.5
"""Pause between two questions to the nodes that are away."""
TRIES = 10
MOVING_PAUSE_S = 0.05
"""Pause before a command goes again to a slot that is moved."""


class Servers(redis.Redis):
    """Client of several servers. Commands without a key go to the first that is not away. Thread-safe and fork-safe.

    Raises NodeAwayError; redis.TryAgainError for a slot that is being moved.
    """

    def __init__(self, urls: Sequence[str], open_node: "Callable[[str], redis.Redis]", *, is_cluster: bool) -> None:
        self._open_node = open_node
        self._url = urls[0]
        self._nodes = {url: Node(redact(url), open_node(url), self) for url in urls}
        self._is_cluster = is_cluster
        nodes = [*self._nodes.values()]
        self._slots: list[Node | None] = [] if is_cluster else [nodes[n * len(nodes) // SLOTS] for n in range(SLOTS)]
        self._check_at = 0.0
        super().__init__(connection_pool=nodes[0].client.connection_pool)

    def nodes(self) -> list[Node]:
        """Return the servers; of a cluster the primaries."""
        self._know_slots()
        return [*dict.fromkeys(node for node in self._slots if node is not None)]

    def node_of(self, key: str | bytes | None) -> Node:
        """Return the node that serves a key; without a key, the first that is not away."""
        if key is None:
            nodes = self.nodes()
            return next((node for node in nodes if not node.away), nodes[0])
        self._know_slots()
        slot = slot_of(key)
        if (node := self._slots[slot]) is None:
            self.check_later()
            raise NodeAwayError(f"no node of the cluster serves slot {slot}")
        return node

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the node of its key."""
        return self.follow(key_of(args), lambda client: client.execute_command(*args, **options), args)

    def read_again(self, command: Command) -> Any:
        """Send a command that was refused since its slot moves; return its reply or its error.

        Of several values, those that have moved already are read at the new node, one by one.
        """
        try:
            if command[0] == "MGET":
                return [self.execute_command("GET", key) for key in command[1:]]
            return self.execute_command(*command)
        except NoScriptError:
            return self.read_again(with_text(command))
        except redis.RedisError as error:
            return error

    def follow(self, key: Any, send: "Callable[[Any], Any]", command: Command = ()) -> Any:
        """Send with the client of a node; again with that of the next if the slot has moved."""
        for left in reversed(range(TRIES)):
            try:
                with self.node_of(key) as client:
                    return send(client)
            except MovedError:
                if not left:
                    raise
            except AskError as error:
                with self._node_at(error.host, error.port) as client, client.pipeline(transaction=False) as pipeline:
                    asking: Any = pipeline
                    asking.execute_command("ASKING")
                    asking.execute_command(*command)
                    reply = pipeline.execute(raise_on_error=False)[-1]
                if not is_moving(reply):
                    return reply
                if not left:
                    raise reply from error
            except redis.ResponseError as error:
                if not is_moving(error) or not left:
                    raise
            time.sleep(0 if left > TRIES - 3 else MOVING_PAUSE_S)
        raise AssertionError

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "ServersPipeline":
        """Return a pipeline; a transaction has all its keys in one slot."""
        return ServersPipeline(self, self, transaction=transaction)

    def note_moved(self, error: MovedError) -> None:
        """Take the new node of a slot from an error."""
        self._slots[error.slot_id] = self._node_at(error.host, error.port)

    def check_later(self) -> None:
        """Ask the nodes that are away, and for the slots, soon and in a thread."""
        now = time.monotonic()
        if now > self._check_at:
            self._check_at = now + CHECK_S
            threading.Thread(target=self._check, name="rowcache-servers", daemon=True).start()

    def _check(self) -> None:
        for node in self._nodes.copy().values():
            if node.away:
                try:
                    node.client.ping()
                    node.away = ""
                except redis.RedisError as error:
                    node.away = str(error)
        if self._is_cluster:
            try:
                self._find_slots()
            except redis.RedisError:
                return  # asked again at the next command

    def _know_slots(self) -> None:
        if not self._slots:
            self._find_slots()

    def _find_slots(self) -> None:
        """Ask any node for the slots. Raises the last error."""
        last: Exception = redis.ConnectionError("the cluster has no nodes")
        for node in sorted(self._nodes.copy().values(), key=lambda node: bool(node.away)):
            try:
                client: Any = node.client
                reply = client.execute_command("CLUSTER", "SLOTS")
            except redis.RedisError as error:
                last = error
                continue
            slots: list[Node | None] = [None] * SLOTS
            for first, final, (host, port, *_), *_ in reply:
                served = self._node_at(host.decode() if host else urlsplit(node.name).hostname or "", port)
                slots[first : final + 1] = [served] * (final + 1 - first)
            self._slots = slots
            return
        raise last

    def _node_at(self, host: str, port: int) -> Node:
        parts = urlsplit(self._url)
        login, at, _ = parts.netloc.rpartition("@")
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        url = parts._replace(netloc=f"{login}{at}{place}").geturl()
        if url not in self._nodes:
            self._nodes[url] = Node(redact(url), self._open_node(url), self)
        return self._nodes[url]

    def close(self) -> None:
        """Close the connections to all nodes."""
        for node in self._nodes.copy().values():
            node.client.close()


def open_exchange(client: "redis.Redis") -> Exchange:
    """Return an exchange with the server, or with the servers, of a client."""
    return ServersExchange(client, client) if isinstance(client, Servers) else Exchange(client)


def by_node(client: "redis.Redis", parts: Sequence[Table]) -> list[tuple[Node, list[Table]]]:
    """Return the parts of tables by the node that serves them; of one server all."""
    if not isinstance(client, Servers):
        return [(Node("", client), [*parts])]
    found: dict[Node, list[Table]] = {}
    for part in parts:
        found.setdefault(client.node_of(part.keys.schedule), []).append(part)
    return [*found.items()]


def node_of(client: "redis.Redis", key: str) -> Node:
    """Return the node that serves a key."""
    return client.node_of(key) if isinstance(client, Servers) else Node("", client)
