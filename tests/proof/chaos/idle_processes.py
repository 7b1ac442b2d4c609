"""Processes that are connected and do no work, found by their logs and connections."""

import re
import socket

from proof.chaos.deployment import CONCURRENCY, DISPATCHERS, WORKERS

from rowcache_tasks.celery import app

DONE = re.compile(rb"(ForkPoolWorker-\d+)\] Task \S+refresh_row\[\S+ succeeded in ")
"""Log line of a finished batch, with the name of its pool process."""


class IdleProcesses:
    """Lists the processes without work since the last mark()."""

    def __init__(self, client, supervisor):
        self._client = client
        self._supervisor = supervisor
        self._offsets = {}

    def mark(self):
        """Start the observation."""
        self._offsets = {name: self._supervisor.log(name).stat().st_size for name in WORKERS}

    def idle(self):
        """Return the workers with an idle pool process, and the number of idle dispatchers.

        A pool process is idle if it has refreshed no batch since mark(), a dispatcher if it has claimed nothing in the
        last second.
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
        """Return the nodes that do not answer `inspect ping`, which the health checks of a deployment use."""
        host = socket.gethostname()
        expected = [f"{name}@{host}" for name in WORKERS] + [f"celerybeat@{host}"] * len(DISPATCHERS)
        for reply in app.control.broadcast("ping", reply=True, limit=len(expected), timeout=3):
            expected.remove(next(iter(reply)))
        return expected

    def _refreshers(self, name):
        with self._supervisor.log(name).open("rb") as log:
            log.seek(self._offsets[name])
            return {found[1] for line in log if (found := DONE.search(line))}
