"""Own what is there to do the work: processes, their settings, and the servers' limits."""

import math
from dataclasses import dataclass, fields
from typing import Any

from rowcache_tasks.config.settings import MAX_BATCH_SIZE, Settings
from rowcache_tasks.dispatch.backpressure import LINGER_S
from rowcache_tasks.ops.capacity.workload import check_number

__all__ = ["Fleet", "queue_share"]

DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Settings)}


@dataclass(frozen=True, slots=True)
class Fleet:
    """Processes and settings. None: as many as are needed. Raises ArgumentError for numbers that cannot be meant."""

    dispatchers: int | None = None
    processes: int | None = None
    """Worker processes, of all workers together."""
    processes_per_worker: int = 4
    """--concurrency: a worker is a main process, which fetches batches, and so many that refresh them."""
    batch_size: int = DEFAULTS["batch_size"]
    poll_interval_s: float = DEFAULTS["poll_interval_s"]
    linger_s: float = LINGER_S
    """How long a dispatcher waits after a batch that was not full."""
    utilisation: float = 0.6
    """How busy a part may be, 0 to 1: the rest is for peaks, and for doing without a process that died."""
    round_trip_s: float = 0.0
    """Between the machines of processes and servers; seconds. 0: all on one, as where the constants were measured."""
    database_cores: float = 4.0
    """Cores of the database that may work for the cache."""
    speed: float = 1.0
    """Of one core, compared with the machine of the constants."""
    cores: float | None = None
    """Cores of the one machine that runs everything, servers included; None: nobody waits for a core."""
    readers: int = 0
    """Threads of applications that read at the same time."""
    senders: int = 0
    """Threads of applications that send tasks at the same time."""
    fillers: int = 0
    """Processes of applications that fill what they miss from the database."""

    def __post_init__(self) -> None:
        for name, count in (("dispatchers", self.dispatchers), ("worker processes", self.processes)):
            if count is not None:
                check_number(f"number of {name}", count, low=1)
        check_number("number of processes of a worker", self.processes_per_worker, low=1)
        check_number("batch size", self.batch_size, low=1, high=MAX_BATCH_SIZE)
        check_number("poll interval, in seconds", self.poll_interval_s, above=0)
        check_number("utilisation", self.utilisation, low=0.01, high=1)
        check_number("round trip, in seconds", self.round_trip_s, low=0)
        check_number("cores of the database", self.database_cores, above=0)
        check_number("speed", self.speed, above=0)
        if self.cores is not None:
            check_number("cores of the machine", self.cores, low=1)
        for name in ("readers", "senders", "fillers"):
            check_number(f"number of {name}", getattr(self, name), low=0)

    def stretch(self, busy_cores: float) -> float:
        """Give how many times as long work takes when so many cores of the one machine are busy on average."""
        if self.cores is None:
            return 1.0
        return 1 + queue_share(min(0.95, busy_cores / self.cores), self.cores) / 2

    def needed(self, busy: float) -> int:
        """Give how many parts are needed for the work that keeps `busy` of them busy all the time."""
        return max(1, math.ceil(busy / self.utilisation - 1e-9))


def queue_share(busy: float, servers: float) -> float:
    """Give how long one waits for one of several servers, in times of service, when each is `busy` of the time.

    An approximation for what comes by chance and takes times by chance; half of it where neither is quite so.
    """
    return float(busy ** (math.sqrt(2 * (servers + 1)) - 1) / (servers * (1 - busy)))
