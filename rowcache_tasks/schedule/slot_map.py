"""Slots of several servers, the node that serves each, and the way of a command to it."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeGuard
from urllib.parse import urlsplit

import redis
from redis.exceptions import AskError, MovedError, NoScriptError, TryAgainError

from rowcache_tasks.errors.text import redact
from rowcache_tasks.keys import SLOTS, slot_of
from rowcache_tasks.schedule.awaiting import outcome_of
from rowcache_tasks.schedule.node import Node, NodeAwayError, is_moving, key_of
from rowcache_tasks.schedule.script import with_text

CHECK_S = 0.5  # pause between two questions to the nodes that are away
TRIES = 10
MOVING_PAUSE_S = 0.05  # pause before a command goes again to a slot that is moved


def is_ask(error: Any) -> TypeGuard[AskError]:
    """Whether a command belongs to the node to which its slot is being moved."""
    return isinstance(error, AskError) and not isinstance(error, MovedError)


class SlotMap:
    """Nodes by their URL and by slot. Of a cluster, the slots are not known before they were asked for.

    Its coroutines are run by Servers, whose clients block, and awaited by AsyncServers.
    """

    sleep: Callable[[float], Any]  # of a thread, or of an event loop

    def __init__(self, urls: Sequence[str], open_node: Callable[[str], Any], *, is_cluster: bool) -> None:
        self._open_node = open_node
        self._given = urls
        self._nodes = {url: Node(redact(url), open_node(url), self) for url in urls}
        self.is_cluster = is_cluster
        nodes = [*self._nodes.values()]
        self.home: Any = nodes[0].client
        self._slots: list[Node | None] = [] if is_cluster else [nodes[n * len(nodes) // SLOTS] for n in range(SLOTS)]
        self._check_at = 0.0

    @property
    def has_slots(self) -> bool:
        """Whether the slots are known."""
        return bool(self._slots)

    def served_nodes(self) -> list[Node]:
        """Return the nodes that serve slots."""
        return [*dict.fromkeys(node for node in self._slots if node is not None)]

    def count_slots(self) -> tuple[Counter[Node], int]:
        """Return how many slots each node serves, and how many no node does."""
        counts = Counter(node for node in self._slots if node is not None)
        return counts, len(self._slots) - counts.total()

    def asked_nodes(self) -> list[Node]:
        """Return all nodes that are known; those that are away come last."""
        return sorted(self._nodes.copy().values(), key=lambda node: bool(node.away))

    def serving(self, key: Any) -> Node:
        """Return the node of a key; without a key, the first that is not away."""
        if key is None:
            nodes = self.served_nodes()
            node = next((node for node in nodes if not node.away), nodes[0] if nodes else None)
        else:
            node = self._slots[slot_of(key)]
        if node is None:
            self.check_later()
            raise NodeAwayError(f"no node of the cluster serves slot {'of any key' if key is None else slot_of(key)}")
        return node

    async def follow(self, key: Any, send: Callable[[Any], Any], command: Sequence[Any] = ()) -> Any:
        """Send with the client of a node; again with that of the next if the slot has moved.

        Raises TryAgainError when the slot is being moved and there is no command, which could go to the new node.
        """
        if not self._slots:
            await self.find_slots()
        node, is_asking = self.serving(key), False
        for left in reversed(range(TRIES)):
            try:
                with node as client:
                    return await (ask(client, command) if is_asking else outcome_of(send(client)))
            except redis.ResponseError as error:
                if not left or not is_moving(error):
                    raise
                if is_asking := is_ask(error):
                    if not command:
                        raise TryAgainError(str(error)) from error
                    node = self.node_at(error.host, error.port, node)
                else:
                    node = self.serving(key)
            await outcome_of(self.sleep(0 if left > TRIES - 3 else MOVING_PAUSE_S))
        raise AssertionError

    async def execute(self, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Send a command to the node of its key."""
        return await self.follow(key_of(args), lambda client: client.execute_command(*args, **options), args)

    async def repeat(self, command: Sequence[Any], refusal: Any) -> Any:
        """Send a command that was refused since its slot moves; return its reply or its error.

        Of several values, some may have moved already: they are read one by one.
        """
        try:
            if command[0] == "MGET" and not isinstance(refusal, MovedError):
                return [(await self.execute(("MGET", key), {}))[0] for key in command[1:]]
            return await self.execute(command, {})
        except NoScriptError:
            return await self.repeat(with_text(tuple(command)), None)
        except redis.RedisError as error:
            return error

    async def find_slots(self) -> None:
        """Ask any node for the slots. Raises the last error."""
        last: Exception = redis.ConnectionError("the cluster has no nodes")
        for node in self.asked_nodes():
            try:
                reply = await outcome_of(node.client.execute_command("CLUSTER", "SLOTS"))
            except redis.RedisError as error:
                last = error
            else:
                if reply:
                    return self.take_slots(node, reply)
                last = redis.ConnectionError(f"{node.name} knows no node of a cluster that serves slots")
        raise last

    async def check(self) -> None:
        """Ask for the slots, and the nodes that are away."""
        if self.is_cluster:
            with suppress(redis.RedisError):  # asked again at the next command
                await self.find_slots()
        served = {*self.served_nodes()}
        for url, node in self._nodes.copy().items():
            if not node.away:
                continue
            if node not in served and url not in self._given:  # it has left the cluster
                self._nodes.pop(url, None)
                await outcome_of(node.client.connection_pool.disconnect(inuse_connections=False))
                continue
            try:
                await outcome_of(node.client.ping())
                node.away = ""
            except redis.RedisError as error:
                node.away = str(error)

    def take_slots(self, asked: Node, reply: Any) -> None:
        """Take the reply of a node to CLUSTER SLOTS."""
        slots: list[Node | None] = [None] * SLOTS
        for first, last, (host, port, *_), *_ in reply:
            served = self.node_at(host.decode() if isinstance(host, bytes) else host, port, asked)
            slots[first : last + 1] = [served] * (last + 1 - first)
        self._slots = slots

    def note_moved(self, error: MovedError, asked: Node) -> None:
        """Take the new node of a slot from the error of a node."""
        self._slots[error.slot_id] = self.node_at(error.host, error.port, asked)

    def node_at(self, host: str | None, port: int, asked: Node) -> Node:
        """Return the node of a cluster at an address, with the login and the options of the others.

        A server that does not know its address leaves the host empty, or "?": it is that of the node that was asked.
        """
        host = urlsplit(asked.name).hostname or "" if host in (None, "", "?") else host
        parts = urlsplit(self._given[0])
        login, at, _ = parts.netloc.rpartition("@")
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        url = parts._replace(netloc=f"{login}{at}{place}").geturl()
        if url not in self._nodes:
            self._nodes[url] = Node(redact(url), self._open_node(url), self)
        return self._nodes[url]

    def is_check_due(self) -> bool:
        """Whether the last question to the nodes that are away was asked some time ago."""
        now = time.monotonic()
        if now <= self._check_at:
            return False
        self._check_at = now + CHECK_S
        return True

    def check_later(self) -> None:
        """Ask the nodes that are away, and for the slots, soon."""
        raise NotImplementedError


async def ask(client: Any, command: Sequence[Any]) -> Any:
    """Send a command to the node that its slot is being moved to. Raises its error."""
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("ASKING")
    pipeline.execute_command(*command)
    reply = (await outcome_of(pipeline.execute(raise_on_error=False)))[-1]
    if isinstance(reply, Exception):
        raise reply
    return reply
