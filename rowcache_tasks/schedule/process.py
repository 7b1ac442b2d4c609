"""Notes of running dispatchers and workers in Redis.

A process notes itself from where it works, so a process that hangs falls silent. All times are those of Redis.
"""

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rowcache_tasks.config.settings import Settings
from rowcache_tasks.schedule.connection import open_client

logger = logging.getLogger(__name__)

NOTE_INTERVAL_S = 2.0
SILENT_S = 10.0  # a process without a note for so long hangs, or was killed
FORGET_S = 60.0
AHEAD_S = 1.0  # a note further in the future is from before a step back of the clock of Redis, and is ignored
TIMEOUT_S = 1.0  # the note holds up its process for no longer, and it is not repeated
DISPATCHER, WORKER = "dispatcher", "worker"


class Process(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dispatcher or worker, as it notes itself."""

    kind: str
    name: str  # node name: beat@host, celery@host
    pid: int
    tables: tuple[str, ...]  # names of the tables in its settings
    layouts: dict[str, tuple[int, int]] = {}  # table with partitions -> their number, and that before its growth or 0
    started_at: float = 0.0
    queues: tuple[str, ...] = ()  # queues of the package that a worker consumes at the moment
    batch_at: float = 0.0  # when the last batch was started, within NOTE_INTERVAL_S; 0: none yet
    running_s: float | None = None  # seconds for which the longest of its batches runs; None: no batch runs
    connection: int = 0  # CLIENT ID of the connection of the note, which the server closes with the process
    pool: int = 0  # processes or threads of a worker that run tasks
    costs: dict[str, tuple[float, float]] = {}  # table -> seconds that a message takes in them, and each row in it
    refused: str = ""  # why Redis refuses what it sends; "": it does not
    silent_s: float = 0.0  # seconds since the note; set by read_processes

    @property
    def is_silent(self) -> bool:
        """Whether the process hangs, or was killed."""
        return self.silent_s > SILENT_S

    @property
    def label(self) -> str:
        """Name for people."""
        return f"{self.kind} {self.name} (process {self.pid})"


class ProcessNote:
    """The note of this process: a member of `processes:`, with the time of the note as its score.

    `alive_file` is touched with each note, whether or not Redis answers: a check of a container can look at its age.
    """

    def __init__(self, settings: Settings, kind: str, name: str) -> None:
        layouts = {t.name: (t.partitions, t.growing_from) for t in settings.tables.values() if t.partitions > 1}
        self._process = Process(kind=kind, name=name, pid=os.getpid(), tables=tuple(settings.tables), layouts=layouts)
        self._alive_file = Path(settings.alive_file) if settings.alive_file else None
        self._key = settings.names.processes
        role = client_role(settings.deployment, self._process)
        self._client = open_client(settings.redis_url, role, TIMEOUT_S, retry=Retry(NoBackoff(), 0))
        self._member = b""
        self._next = 0.0
        self._is_refused = False

    def write(self, *, is_alive: bool = True, is_busy: bool = False, **fields: Any) -> bool:
        """Write the note, once in NOTE_INTERVAL_S; return whether it was time. Raises nothing of Redis's.

        `is_alive`: the process does its work, and the file is touched. `is_busy`: a batch was started since.
        """
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + NOTE_INTERVAL_S
        if self._alive_file and is_alive:
            touch(self._alive_file)
        try:
            pipeline: Any = self._client.pipeline(transaction=False)
            (seconds, microseconds), fields["connection"] = pipeline.time().client_id().execute()
            now = int(seconds) + int(microseconds) / 1e6
            if is_busy:
                fields["batch_at"] = now
            if not self._member:
                fields["started_at"] = now
            self._process = msgspec.structs.replace(self._process, **fields)
            self._replace(msgspec.json.encode(self._process), now)
        except redis.ResponseError as error:
            if not self._is_refused:
                logger.warning("not_noted: this process counts as dead, since Redis refuses its note: %s", error)
            self._is_refused = True
        except redis.RedisError as error:
            logger.debug("process_not_noted", extra={"error": str(error)})
        return True

    def _replace(self, member: bytes, now: float) -> None:
        pipeline = self._client.pipeline(transaction=True)
        if self._member not in {b"", member}:
            pipeline.zrem(self._key, self._member)
        pipeline.zadd(self._key, {member: now})
        pipeline.zremrangebyscore(self._key, "-inf", now - FORGET_S)
        pipeline.zremrangebyscore(self._key, now + FORGET_S, "inf")  # before a step back of the clock
        self._member = member
        pipeline.execute()

    def erase(self) -> None:
        """Remove the note and the file, as the process stops or does not work. Raises nothing of Redis's."""
        if self._alive_file:
            self._alive_file.unlink(missing_ok=True)
        try:
            if self._member:
                self._client.zrem(self._key, self._member)
            self._client.close()
        except redis.RedisError as error:
            logger.debug("process_not_erased", extra={"error": str(error)})


def touch(path: Path) -> None:
    """Set the time of a file to now. A file that cannot be written is an error of the settings, and stops nothing."""
    try:
        path.touch()
    except OSError as error:
        logger.warning("rowcache_alive_file cannot be written: %s", error)


def client_role(deployment: str, process: Process) -> str:
    """Return the role of a connection: CLIENT LIST shows rowcache-<role>. Spaces are not allowed in it."""
    return f"{kind_prefix(deployment, process.kind)}{''.join(process.name.split())}:{process.pid}"


def kind_prefix(deployment: str, kind: str) -> str:
    """Return how the roles of all processes of a kind begin, which those of another deployment do not."""
    return f"{kind}.{deployment}:" if deployment else f"{kind}:"


def parse_processes(now: float, reply: Iterable[tuple[bytes, float]]) -> list[Process]:
    """Parse the members of `processes:`, oldest first; a process counts by its newest note, those of others do not."""
    found: dict[tuple[str, str, int], Process] = {}
    for member, noted_at in reply:
        try:
            process = msgspec.json.decode(member, type=Process)
        except (ValueError, RecursionError):
            continue
        silent_s = now - noted_at
        if -AHEAD_S <= silent_s <= FORGET_S:
            process = msgspec.structs.replace(process, silent_s=max(0.0, silent_s))
            found[process.kind, process.name, process.pid] = process
    return list(found.values())
