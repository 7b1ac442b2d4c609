"""Sentinels that watch a failover pair."""

import redis
from support.failover_pair import FailoverPair
from support.free_port import free_port
from support.waiting import wait_until

from demo.servers import Child
from demo.servers.valkey import valkey_server

MASTER = "mymaster"


class Sentinels:
    """Three Sentinels of `pair`, of which two must agree. The first address in `url` is that of one that is away."""

    def __init__(self, folder):
        self.pair = FailoverPair()
        self.ports = [free_port() for _ in range(3)]
        self.children = []
        for port in self.ports:
            home = folder / f"sentinel-{port}"
            home.mkdir()
            config = home / "sentinel.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {home}\n"
                f"sentinel monitor {MASTER} 127.0.0.1 {self.pair.ports[0]} 2\n"
                f"sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000\n"
            )
            command = [valkey_server(), str(config), "--sentinel"]
            self.children.append(Child(command, env={}, log=home / "sentinel.log", cwd=home))

    def url(self, db=0):
        addresses = ",".join(f"127.0.0.1:{port}" for port in (1, *self.ports))
        return f"redis+sentinel://{addresses}/{MASTER}/{db}"

    def __enter__(self):
        self.pair.__enter__()
        for child in self.children:
            child.start()
        wait_until(self._is_watched, "the Sentinels see the replica and each other")
        return self

    def __exit__(self, *_):
        for child in self.children:
            child.kill()
        self.pair.__exit__()

    def fail_over(self):
        """Kill the primary with SIGKILL; return when all Sentinels name the other server."""
        pair = self.pair
        pair.primary.kill()
        pair.primary, pair.replica = pair.replica, pair.primary
        port = pair.port_of(pair.primary)
        wait_until(lambda: {state["port"] for state in self._states()} == {port}, "the Sentinels switch", pause_s=0.02)

    def _is_watched(self):
        try:
            states = self._states()
        except redis.ConnectionError:
            return False
        return all(state["num-slaves"] == 1 and state["num-other-sentinels"] == 2 for state in states)

    def _states(self):
        found = []
        for port in self.ports:
            with redis.Redis(port=port) as sentinel:
                found.append(sentinel.sentinel_masters()[MASTER])
        return found
