"""Names of all keys in Redis: the wire contract."""

import itertools
import re
import string
import zlib
from binascii import crc_hqx
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from functools import cache, lru_cache
from typing import ClassVar

BOOK_TABLE = "inv"
"""Table whose namespace is empty unless it is given: the keys of *Redis in Action*. Of all others it is the name."""
BROKER_PREFIXES = ("rowcache.", "celery", "unacked", "_kombu")
"""How keys of the broker begin, which may be on the same server: other rights go with them."""
NAME = re.compile(r"[A-Za-z0-9_.-]*")
"""Of a deployment."""
NAMESPACE = re.compile(r"[A-Za-z0-9_.-]*(\{[A-Za-z0-9_.-]+\})?")
"""With a part in braces, all keys of the table are in one slot of a cluster."""
SLOTS = 16384
MAX_PARTITIONS = 1024


def slot_of(key: str | bytes) -> int:
    """Return the slot of a key: of the part in the first braces, if there is one."""
    key = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
    start = key.find(b"{") + 1
    end = key.find(b"}", start) if start else -1
    return crc_hqx(key[start:end] if end > start else key, 0) % SLOTS


def partition_of(row_id: str, partitions: int) -> int:
    """Return the partition of a row; `partitions` is a power of two."""
    return zlib.crc32(row_id.encode("utf-8", "surrogateescape")) & (partitions - 1)


def divide_row_ids(row_ids: Iterable[str], partitions: int) -> dict[int, list[str]]:
    """Return the rows of each partition that has any, in their order."""
    found: dict[int, list[str]] = {}
    mask = partitions - 1
    for row_id in row_ids:  # as partition_of, without a call for each
        found.setdefault(zlib.crc32(row_id.encode("utf-8", "surrogateescape")) & mask, []).append(row_id)
    return found


@cache
def tags_of(partitions: int) -> tuple[str, ...]:
    """Return the tag of each partition: of the texts of 0-9a-z in its slot the shortest, then the first.

    The slots lie evenly in the range, each in the middle of its part: on each of several nodes is as many. One
    partition has no tag.
    """
    if partitions == 1:
        return ("",)
    slots = [(2 * number + 1) * SLOTS // (2 * partitions) for number in range(partitions)]
    left, tags = set(slots), dict[int, str]()
    for length in itertools.count(1):
        for letters in itertools.product(string.digits + string.ascii_lowercase, repeat=length):
            tag = "".join(letters)
            slot = crc_hqx(tag.encode(), 0) % SLOTS
            if slot in left:
                left.remove(slot)
                tags[slot] = tag
                if not left:
                    return tuple(tags[slot] for slot in slots)
    raise AssertionError  # never: every slot has a tag


@dataclass(frozen=True, slots=True)
class DeploymentNames:
    """Keys and queues of a deployment as a whole. Deployments of different names may share a database and a broker."""

    queue: str
    """ZSET: claimed_at of a batch -> the same time, from its claim until a worker starts it."""
    beat: str
    """HASH: name of a beat_schedule entry -> when it was last sent, and the token of that decision."""
    processes: str
    """ZSET: a running dispatcher or worker, as JSON -> when it noted that."""
    refresh_queue: str
    """Queue at the broker: batches of rows to refresh, sent by dispatchers."""
    schedule_queue: str
    """Queue at the broker: schedule changes, sent by applications; they never wait behind refreshes."""
    home: str
    """LIST: an entry wakes a sleeping dispatcher of several servers, which cannot wait for all at once."""

    @classmethod
    def of(cls, deployment: str) -> "DeploymentNames":
        """Return the names of a deployment that was validated with NAME; "" is the one without a name."""
        prefix = f"rowcache.{deployment}." if deployment else "rowcache."
        return cls(
            queue=f"queue:{deployment}",
            beat=f"beat:{deployment}",
            processes=f"processes:{deployment}",
            refresh_queue=f"{prefix}refresh",
            schedule_queue=f"{prefix}schedule",
            home=f"home:{deployment}",
        )

    @property
    def queues(self) -> tuple[str, str]:
        """Both queues at the broker."""
        return self.refresh_queue, self.schedule_queue


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one cached table. The empty namespace gives the keys of *Redis in Action*, section 2.4.

    All times are Unix seconds by the clock of Redis.
    """

    schedule: str
    """ZSET: row id -> when it is due; while it is claimed, when the lease ends."""
    delay: str
    """ZSET: row id -> seconds between refreshes; <= 0 or absent: stop caching the row."""
    value_prefix: str
    """STRING at value_prefix + row id: the row as one JSON object."""
    refreshed: str
    """ZSET: row id -> when the last accepted commit was: the fence, and the age of the value."""
    changed: str
    """ZSET: row id -> when the last applied schedule change was enqueued."""
    failures: str
    """HASH: row id -> consecutive failures and the last error, as JSON; absent when healthy."""
    wake: str
    """LIST: an entry wakes a sleeping dispatcher."""
    state: str
    """HASH: control state of the table as a whole.

    `paused`: since when no row is claimed. `resumed`: when the last pause ended. `pause_stamp`: when the last pause or
    resume was enqueued. `dropped_at`: when the last drop of the table was enqueued. `clock`: the time of
    the last claim, fill or check; when it is ahead of the server, the clock has stepped back: `epoch` counts these
    steps, `stepped_s` adds them up until the schedule is repaired, `step` has the time of the last one and that sum.
    `committed_at`: the last commit. `work_s`, `wait_s`: how long batches are read, and wait before, lately.
    `slow_at`, `slow_ms`: the last commit of a slow read, and how long the read took. `refused_at`, `refused_ms`: the
    last commit that came too late, and by how much.
    Of a table with a promise, `margin_s`: how much earlier rows are due than they may be old; `read_s`:
    mean time from a read to its commit; `judged_at`: the last
    look at it; `missed_at`: the last that found it broken; `hour:0` to `hour:23`: the hour, and its seconds, in all and
    beyond the promise.
    Of a table with a cap, `paced_at`: the time up to which claims have used it; `capped_at`: when rows were held back.
    Of a table that is read from a replica of the database, `replica_at`, `replica_lag_s`: when, and how far that was
    behind; `behind_at`, `behind`: since when no read has reached a position that a row needs; `reached_at`, `reached`,
    `passed`: a position that a read had reached, and one of ten minutes before.
    `closed`: when the first row was moved from this part to others: nothing is claimed or written here any more.
    `unleased_at`: the last write that no lease covers, of a fill or of a row that was rescheduled during its refresh.
    """
    stats: str
    """HASH: counters, and the histogram of lateness; deleting it sets them to 0 and changes nothing else."""
    expiring: str
    """STRING: present as long as a value of the table may have an expiry."""
    notes: str
    """ZSET: note of a claim -> the end of its lease; note of a schedule change -> its stamp. For explain only."""
    outcomes: str
    """LIST: the newest outcomes of rows that have a reason, or were asked for. For explain only."""
    asked: str
    """SET, expires: rows that explain was asked for."""
    position: str
    """ZSET: row id -> position in the log of the database from which on it is to be read; of tables with replicas."""
    queue: str
    """As in DeploymentNames; with the part in braces, if there is one: a script has all its keys in one slot."""

    fill_prefix: ClassVar[str] = "fill:"
    """STRING at fill_prefix + the key of a value, expires: the reader that fills the row, or the outcome."""

    @classmethod
    @lru_cache(maxsize=8192)  # asked for at each command
    def of(cls, namespace: str, deployment: str = "", tag: str = "") -> "Keys":
        """Return the keys of a namespace that was validated with NAMESPACE and RESERVED_NAMESPACES.

        With the `tag` of a partition, those of this part of the table.
        """
        braces = f"{{{tag}}}" if tag else ""
        place = namespace + braces
        names = {each.name: f"{each.name}:{place}" for each in fields(cls)}
        names["value_prefix"] = f"{namespace or BOOK_TABLE}{braces}:"
        names["queue"] = DeploymentNames.of(deployment).queue + (place[place.find("{") :] if "{" in place else "")
        return cls(**names)

    def value(self, row_id: str) -> bytes:
        """Return the key that holds the JSON of a row."""
        return f"{self.value_prefix}{row_id}".encode("utf-8", "surrogateescape")


RESERVED_NAMESPACES = frozenset(
    key.partition(":")[0]
    for key in (*astuple(Keys.of("")), *astuple(DeploymentNames.of("")), Keys.fill_prefix, "layout:")
)
"""How keys begin: as the namespace of a table, one of these would be the name of another key."""
