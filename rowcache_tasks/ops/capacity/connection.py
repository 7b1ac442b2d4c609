"""Own how many connections a deployment opens at most, as docs/deployment.md counts them: "Connection budget"."""

from dataclasses import dataclass

__all__ = ["Connections", "count_connections"]

DISPATCHER, WORKER, PROCESS, FLOWER = 9, 8, 4, 40
"""To Redis, which is also the broker, at most."""
SENDING = 2
"""To the broker, for each thread that sends tasks at the same time."""
FILLING = 4
"""To the database, for each process whose readers fill what they miss: the default of `concurrency`."""


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections at most."""

    redis: int
    database: int


def count_connections(
    dispatchers: int, workers: int, processes: int, *, readers: int = 0, senders: int = 0, fillers: int = 0
) -> Connections:
    """Count them, one Flower included. `readers`, `senders`: threads at the same time; `fillers`: processes."""
    redis = DISPATCHER * dispatchers + WORKER * workers + PROCESS * processes + FLOWER + readers + SENDING * senders
    return Connections(redis=redis, database=processes + FILLING * fillers)
