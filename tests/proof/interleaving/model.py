"""Expected state of the world, computed without Redis."""

from dataclasses import dataclass, field, replace

from rowcache_tasks.reader.fill.scripts import FillState
from rowcache_tasks.schedule.claim import Claim


@dataclass
class Work:
    """What a worker holds between its steps."""

    claim: Claim
    read: int | None = None
    """The version of the database when the row was read."""
    found: bool = True
    """Whether there was a row."""
    epoch: int = 0
    """The model's, at the claim."""
    looked: bytes | None = None
    """The cached value, of a worker that reads only changed rows."""
    replica: str = ""
    """Where the row was read; empty: from the primary."""


@dataclass
class Fill:
    """What a reader holds that fills the row."""

    token: bytes
    begun: FillState
    asked: int
    """The version at the begin."""
    epoch: int
    read: int | None = None
    found: bool = True
    is_outdated: bool = False
    """Whether the row was claimed since, so that the fill may be refused."""
    is_cancelled: bool = False
    """Whether the row was dropped or asked for since, so that the fill must be refused."""


@dataclass
class Model:
    """One row. Versions count the changes of the row in the database, its removal included."""

    version: int = 1
    exists: bool = True
    wanted: bool | None = False
    """Whether the row is to be cached; None: a foreign client has said half of it."""
    asked: int = -1
    """The version at the last request for a refresh: the value in the end must not be older."""
    seen: int = -1
    """The newest version that was cached, or of an absence that was noted, so far."""
    absent: int = -1
    """The version of the last absence that was noted."""
    cached: bytes | None = None
    """The value after the last step."""
    stamp: float = 0.0
    """When the newest of the applied schedule changes was enqueued."""
    is_held: bool = False
    """Whether a lease that has not ended is out, and nobody has rescheduled the row since."""
    leases: frozenset[float] = frozenset()
    """The ends of leases of claims that were neither committed nor released, and when rows read too early are due."""
    later: float = 0.0
    """When the row is due by a request that lets it wait."""
    work: dict[str, Work] = field(default_factory=dict)
    fills: dict[str, Fill] = field(default_factory=dict)
    is_retried: bool = False
    """Whether a reader has filled the row while it waited for a retry, which still comes."""
    epoch: int = 0
    """Number of events that outdate a refresh in flight: commits, drops, steps of the clock."""
    has_stepped: bool = False
    """Whether the clock stepped back."""
    replayed: dict[str, int] = field(default_factory=dict)
    """Replica of the database -> the version that it has."""
    needed: int = 0
    """Position in the log of the database from which on the row is to be read."""

    def copy(self) -> "Model":
        work = {actor: replace(work) for actor, work in self.work.items()}
        fills = {actor: replace(fill) for actor, fill in self.fills.items()}
        return replace(self, work=work, fills=fills, replayed=dict(self.replayed))

    def cancel_fills(self):
        """Note that no value that is being read now may be written."""
        for fill in self.fills.values():
            fill.is_cancelled = True
