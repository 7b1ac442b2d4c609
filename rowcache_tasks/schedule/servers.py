"""Client of several servers: each command goes to the server of its key.

The nodes of a cluster, or a list of servers of which each has an even part of the slots. The script of a part of a
table has all its keys in one slot. Each node has a client of its own, as one server has. A node that does not answer is
away: its commands fail at once, until it answers a question that a thread asks now and then.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.exceptions import AskError, MovedError, NoScriptError, TryAgainError

from rowcache_tasks.config.table import Table
from rowcache_tasks.keys import DeploymentNames
from rowcache_tasks.schedule.awaiting import run_blocking
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.fan import ServersExchange, ServersPipeline
from rowcache_tasks.schedule.node import Node, NodeAwayError, NoNode
from rowcache_tasks.schedule.script import ScriptCall, run_all, with_text
from rowcache_tasks.schedule.slot_map import SlotMap

NODE_TIMEOUT_S = 1.0  # of several servers: one that is away holds up a process for so long, once
WAIT_S = 0.5  # longest wait for the replicas; a client waits longer for each answer (NODE_TIMEOUT_S)
MAX_ARGUMENTS = 1100
"""Arguments of the calls in one round trip: five calls with SCRIPT_BATCH row ids. Others of the server wait so long."""


class Servers(SlotMap, redis.Redis):
    """Client of several servers. Commands without a key go to the first that is not away. Thread-safe and fork-safe.

    Raises NodeAwayError; redis.TryAgainError for a slot that is being moved.
    """

    def __init__(self, urls: Sequence[str], open_node: "Callable[[str], redis.Redis]", *, is_cluster: bool) -> None:
        SlotMap.__init__(self, urls, open_node, is_cluster=is_cluster)
        redis.Redis.__init__(self, connection_pool=self.home.connection_pool)
        self._checking: threading.Thread | None = None

    def nodes(self) -> list[Node]:
        """Return the servers; of a cluster the primaries."""
        self._know_slots()
        return self.served_nodes()

    def node_of(self, key: str | bytes | None) -> Node:
        """Return the node that serves a key; without a key, the first that is not away."""
        self._know_slots()
        return self.serving(key)

    def _know_slots(self) -> None:
        if not self.has_slots:
            run_blocking(self.find_slots())

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the node of its key."""
        return run_blocking(self.execute(args, options))

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "ServersPipeline":
        """Return a pipeline; a transaction has all its keys in one slot."""
        return ServersPipeline(self, transaction=transaction)

    def check_later(self) -> None:
        """Ask the nodes that are away, and for the slots, soon and in a thread; one at a time."""
        is_asking = self._checking is not None and self._checking.is_alive()
        if not (is_asking or sys.is_finalizing()) and self.is_check_due():  # a start would hang in Python 3.11
            self._checking = thread = threading.Thread(target=self._check, name="rowcache-servers", daemon=True)
            with suppress(RuntimeError):  # the interpreter is shutting down, or has no thread to spare: asked later
                thread.start()

    def _check(self) -> None:
        run_blocking(self.check())

    sleep = staticmethod(time.sleep)

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


def open_exchange(client: "redis.Redis") -> Exchange:
    """Return an exchange with the server, or with the servers, of a client."""
    return ServersExchange(client) if isinstance(client, Servers) else Exchange(client)


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
    return run_blocking(client.follow(key, send)) if isinstance(client, Servers) else send(client)


def wake_home(client: "redis.Redis", deployment: str) -> None:
    """Wake a dispatcher of several servers. Without it, the dispatcher looks within its poll interval."""
    if isinstance(client, Servers):
        home = DeploymentNames.of(deployment).home
        pipeline = client.pipeline(transaction=False)
        pipeline.rpush(home, "1")
        pipeline.ltrim(home, -4, -1)
        with suppress(redis.RedisError):
            pipeline.execute()


class NotReplicatedError(redis.ConnectionError):
    """The call was made at the primary, and too few replicas have it: a failover may undo it. Make it again."""


def run_replicated(client: "redis.Redis", call: ScriptCall, replicas: int) -> Any:
    """Make a call and wait for the replicas (WAIT), unless they are 0. Raises NotReplicatedError."""
    if not replicas:
        return call.run(client)
    reply, reached = send_to(client, call.keys[0], lambda server: call_and_wait(server, call, replicas))
    if reached < replicas:
        raise NotReplicatedError(
            f"{reached} of {replicas} replicas (rowcache_replicas) have the change after {WAIT_S:g} s: "
            "start or connect the others, or lower the setting"
        )
    return reply


def run_each(client: "redis.Redis", calls: Iterable[ScriptCall], replicas: int) -> list[Any]:
    """Make calls, some in one round trip unless each waits for replicas. Raises the first error."""
    if replicas:
        return [run_replicated(client, call, replicas) for call in calls]
    replies: list[Any] = []
    for some in cut_by_arguments(calls):
        replies += run_all(client, some) if len(some) > 1 else [some[0].run(client)]
        for reply in replies[-len(some) :]:
            if isinstance(reply, Exception):
                raise reply
    return replies


def cut_by_arguments(calls: Iterable[ScriptCall]) -> Iterator[list[ScriptCall]]:
    """Cut calls into lists of up to MAX_ARGUMENTS, or of one call."""
    some: list[ScriptCall] = []
    size = 0
    for call in calls:
        if some and size + len(call.arguments) > MAX_ARGUMENTS:
            yield some
            some, size = [], 0
        some.append(call)
        size += len(call.arguments)
    if some:
        yield some


def call_and_wait(server: "redis.Redis", call: ScriptCall, replicas: int) -> tuple[Any, int]:
    """Make a call and wait on the same connection; return the reply and the number of replicas. Raises their errors."""
    for command in (call.command, with_text(call.command)):
        with server.pipeline(transaction=False) as pipeline:
            asked: Any = pipeline
            asked.execute_command(*command)
            asked.execute_command("WAIT", replicas, int(WAIT_S * 1000))
            reply, reached = pipeline.execute(raise_on_error=False)
        if not isinstance(reply, NoScriptError):
            break
    for outcome in (reply, reached):
        if isinstance(outcome, AskError) and not isinstance(outcome, MovedError):
            raise TryAgainError(str(outcome))  # no wait at another server counts
        if isinstance(outcome, Exception):
            raise outcome
    return reply, reached
