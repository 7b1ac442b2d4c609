"""Failover pair: a primary and its replica behind one address, whose old primary lives on as a replica."""

import contextlib
import socket
import threading

import redis
from support.free_port import free_port
from support.listener import Listener
from support.tls_proxy import forward
from support.waiting import wait_until

from demo.servers import Valkey


class FailoverPair:
    """Two servers, `primary` and `replica`; `port` and the Unix socket `path` are the addresses of the pair.

    As with a virtual address or a name, `switch` moves new connections only; open ones stay at their server. With
    `is_split`, a replica never reaches its primary: its data stay as they are.
    """

    def __init__(self, is_split=False):
        self._is_split = is_split
        self.ports = [free_port(), free_port()]
        self.servers = [Valkey(args=("--port", str(port), "--repl-diskless-sync-delay", "0")) for port in self.ports]
        self.primary, self.replica = self.servers
        self._target = self.ports[0]
        self._listeners = [Listener(self._serve), Listener(self._serve, "pair")]
        self.port, self.path = self._listeners[0].port, self._listeners[1].path

    def __enter__(self):
        for server in self.servers:
            server.start()
        for listener in self._listeners:
            listener.__enter__()
        self.follow()
        return self

    def __exit__(self, *_):
        for listener in self._listeners:
            listener.__exit__()
        for server in self.servers:
            server.stop()

    def url(self, db=0):
        return f"redis://127.0.0.1:{self.port}/{db}"

    def command(self, server, *words):
        """Run a command at a server itself; returns its reply."""
        with redis.Redis.from_url(server.url) as client:  # a client of the package refuses a replica
            return client.execute_command(*words)

    def port_of(self, server):
        return self.ports[self.servers.index(server)]

    def follow(self):
        """Make `replica` a replica, in sync unless the pair is split."""
        self.promote(self.primary)
        self.demote(self.replica)
        self.switch(self.primary)
        if not self._is_split:
            wait_until(lambda: self.command(self.replica, "ROLE")[3] == b"connected", "the replica is in sync")

    def demote(self, server):
        other = self.servers[1 - self.servers.index(server)]
        self.command(server, "REPLICAOF", "127.0.0.1", 1 if self._is_split else self.port_of(other))

    def promote(self, server):
        self.command(server, "REPLICAOF", "NO", "ONE")

    def switch(self, server):
        self._target = self.port_of(server)

    def fail_over(self):
        """Promote the replica, let the old primary follow, and move the address. In sync, no write is lost."""
        if not self._is_split:
            self.command(self.primary, "FAILOVER")
            wait_until(lambda: self.command(self.replica, "ROLE")[0] == b"master", "the replica is promoted")
        self.primary, self.replica = self.replica, self.primary
        self.promote(self.primary)
        self.switch(self.primary)
        self.demote(self.replica)

    def _serve(self, inner):
        with inner, socket.socket() as outer, contextlib.suppress(OSError):
            outer.connect(("127.0.0.1", self._target))
            for end in (inner, outer):
                if end.family == socket.AF_INET:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=forward, args=(outer, inner), daemon=True)
            back.start()
            forward(inner, outer)
            back.join()
