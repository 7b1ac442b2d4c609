"""Own what a claim is: rows that are ours until a lease ends. Must not know how it is made, sent or committed."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, groupby, repeat

__all__ = ["Claim", "late_of", "runs"]


@dataclass(frozen=True, slots=True)
class Claim:
    """Rows that are ours until the lease ends."""

    claimed_at: str
    lease_until: str
    row_ids: list[str]
    late: list[int]
    """How long after its due time each row was claimed, run by run: milliseconds, number of rows, milliseconds, …"""
    behind: int = 0
    """Batches that no worker had started yet when it was claimed; a million when that is not known."""


def late_of(claim: Claim) -> dict[str, int]:
    """Give for each row of a claim how late it was claimed; milliseconds."""
    each = chain.from_iterable(map(repeat, claim.late[::2], claim.late[1::2]))
    return dict(zip(claim.row_ids, each, strict=True))


def runs(late_ms: Iterable[int]) -> list[int]:
    """Write the lateness of rows run by run, as Claim has it."""
    return list(chain.from_iterable((late, len(list(run))) for late, run in groupby(late_ms)))
