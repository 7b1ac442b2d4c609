"""Commands to several servers at once: all are sent before the first reply is read."""

from collections.abc import Sequence
from typing import Any

import redis
from redis.client import Pipeline
from redis.exceptions import MovedError

from rowcache_tasks.schedule.awaiting import run_blocking
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.node import Node, NodeAwayError, is_moving, key_of, keys_of
from rowcache_tasks.schedule.script import Command


class ServersPipeline(Pipeline):
    """Pipeline of several servers; as a transaction, of one."""

    def __init__(self, servers: Any, *, transaction: bool) -> None:
        super().__init__(servers.connection_pool, servers.response_callbacks, transaction, None)
        self._servers, self._is_transaction = servers, transaction

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Return the replies in the order of the commands; raises the first error, or returns it in its place."""
        stack = [*self.command_stack]
        self.reset()
        replies: list[Any] = self._run_as_transaction(stack) if self._is_transaction else self._run(stack)
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies

    def _run_as_transaction(self, stack: list[Any]) -> Any:
        def send(client: "redis.Redis") -> Any:
            with client.pipeline(transaction=True) as pipeline:
                pipeline.command_stack = [*stack]
                return pipeline.execute(raise_on_error=False)

        key = next(filter(None, (key_of(args) for args, _ in stack)), None)
        return run_blocking(self._servers.follow(key, send))

    def _run(self, stack: list[Any]) -> list[Any]:
        keys = keys_of([command for command, _ in stack])
        replies: list[Any] = [None] * len(stack)
        with ServersExchange(self._servers) as exchange:
            by_node: dict[str, list[int]] = {}
            for place, name in enumerate(map(exchange.node, keys)):
                by_node.setdefault(name, []).append(place)
            sent = [(some, exchange.send([stack[n][0] for n in some], keys[some[0]])) for some in by_node.values()]
            exchange.read()
        for some, found in sent:
            for number, place in enumerate(some):
                reply = found[number] if found else exchange.error_of(keys[place])
                replies[place] = self._parsed(reply, *stack[place])
        return replies

    def _parsed(self, reply: Any, command: Command, options: dict[str, Any]) -> Any:
        if isinstance(reply, Exception):
            return run_blocking(self._servers.repeat(command, reply)) if is_moving(reply) else reply
        callbacks: Any = self.response_callbacks
        if (callback := callbacks.get(command[0])) is None:
            return reply
        return callback(reply, **{name: value for name, value in options.items() if name != "keys"})


class NodeExchange(Exchange):
    """Exchange with one node, whose slots may have moved."""

    def __init__(self, servers: Any, node: Node) -> None:
        super().__init__(node.client)
        self._servers = servers

    def _mend(self, commands: Sequence[Command], replies: list[Any]) -> None:
        super()._mend(commands, replies)
        for place, reply in enumerate(replies):
            if isinstance(reply, MovedError):
                replies[place] = run_blocking(self._servers.repeat(commands[place], reply))


class ServersExchange(Exchange):
    """Exchange with several nodes. A node that fails leaves its replies out; `errors` has the reason."""

    def __init__(self, servers: Any) -> None:
        super().__init__(servers)
        self._servers = servers
        self._nodes: dict[Node, NodeExchange] = {}
        self.errors: dict[str, Exception] = {}

    def __exit__(self, *error: object) -> None:
        for exchange in self._nodes.values():
            exchange.__exit__(*error)

    def node(self, key: Any) -> str:
        """Return the name of the node of a key."""
        try:
            return str(self._servers.node_of(key).name)
        except NodeAwayError:
            return ""

    def send(self, commands: Sequence[Command], key: Any = None) -> list[Any]:
        """Send commands to one node: that of `key`, or else of the first key among them."""
        node = None
        try:
            node = self._servers.node_of(key or next(filter(None, map(key_of, commands)), None))
            with node:
                exchange = self._nodes.get(node)
        except NodeAwayError as error:
            self.errors[node.name if node else ""] = error
            return []
        if exchange is None:
            exchange = self._nodes[node] = NodeExchange(self._servers, node)
        exchange._is_held = self._is_held
        return exchange.send(commands)

    def _flush(self) -> None:
        for exchange in self._nodes.values():
            exchange._flush()

    def _drop(self) -> None:
        for exchange in self._nodes.values():
            exchange._drop()

    def read(self) -> None:
        """Read all replies of all nodes. Raises the error of the connection if all servers are away."""
        for node, exchange in self._nodes.items():
            try:
                with node:
                    exchange.read()
            except NodeAwayError as error:
                self.errors[node.name] = error
        if self.errors and all(node.away for node in self._servers.nodes()):
            raise next(iter(self.errors.values()))

    def error_of(self, key: Any) -> Exception:
        """Return the reason why the command of a key has no reply."""
        return self.errors.get(self.node(key)) or NodeAwayError("the node is away")
