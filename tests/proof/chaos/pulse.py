"""Own the question which processes do their work: one that is connected and does nothing must not go unnoticed."""

import re
import socket

from proof.chaos.stage import CONCURRENCY, DISPATCHERS, WORKERS

from rowcache_tasks.celery import app

DONE = re.compile(rb"(ForkPoolWorker-\d+)\] Task \S+refresh_row\[\S+ succeeded in ")
"""What the log of a worker says of a batch, and which of its processes has refreshed it."""


class Pulse:
    """Feels which processes have worked since the last mark."""

    def __init__(self, client, supervisor):
        self._client = client
        self._supervisor = supervisor
        self._offsets = {}

    def mark(self):
        """Take up from here."""
        self._offsets = {name: self._supervisor.log(name).stat().st_size for name in WORKERS}

    def idle(self):
        """The names of the processes that have not worked since, or not within the last second or two.

        Of a worker, each process of its pool must have refreshed a batch.
        """
        idle = [name for name in WORKERS if len(self._refreshers(name)) < CONCURRENCY]
        claiming = [
            client
            for client in self._client.client_list()
            if client["name"] == "rowcache-dispatcher" and client["cmd"].startswith("eval") and int(client["idle"]) <= 1
        ]
        if len(claiming) < len(DISPATCHERS):
            idle.append(f"{len(DISPATCHERS) - len(claiming)} of the dispatchers")
        return idle

    def silent(self):
        """The nodes that do not answer `inspect ping`, by which the health checks of a deployment go."""
        host = socket.gethostname()
        expected = [f"{name}@{host}" for name in WORKERS] + [f"celerybeat@{host}"] * len(DISPATCHERS)
        for reply in app.control.broadcast("ping", reply=True, limit=len(expected), timeout=3):
            expected.remove(next(iter(reply)))
        return expected

    def _refreshers(self, name):
        with self._supervisor.log(name).open("rb") as log:
            log.seek(self._offsets[name])
            return {found[1] for line in log if (found := DONE.search(line))}
