"""Own what became of the rows of one call, as counts. Knows nothing of how."""

from dataclasses import astuple, dataclass
from operator import add

__all__ = ["Changed", "Committed", "Missed"]


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of the rows of a commit, as counts."""

    refreshed: int = 0
    """The value was written."""
    unchanged: int = 0
    """The value was what the cache held already."""
    superseded: int = 0
    """Not written: another refresh was committed since the claim, so this value may be older."""
    dropped: int = 0
    """Not written: the row was unscheduled since the claim."""

    def __add__(self, other: "Committed") -> "Committed":
        """Count both."""
        return Committed(*map(add, astuple(self), astuple(other)))


@dataclass(frozen=True, slots=True)
class Missed:
    """What became of rows that the database did not have, as counts; dropped ones count as missing too."""

    missing: int = 0
    superseded: int = 0
    dropped: int = 0

    def __add__(self, other: "Missed") -> "Missed":
        """Count both."""
        return Missed(*map(add, astuple(self), astuple(other)))


@dataclass(frozen=True, slots=True)
class Changed:
    """How many rows a schedule change applied to, and how many it left as they are."""

    applied: int = 0
    ignored: int = 0
    """A change enqueued later was there before."""
    kept: int = 0
    """Scheduled already, when only others were meant."""

    def __add__(self, other: "Changed") -> "Changed":
        """Count both."""
        return Changed(self.applied + other.applied, self.ignored + other.ignored, self.kept + other.kept)

    def as_result(self) -> dict[str, int]:
        """Give what a task returns."""
        return {"applied": self.applied, "ignored": self.ignored}
