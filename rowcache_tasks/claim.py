"""Own what a claim is: rows that are ours until a lease ends. Must not know how it is made, sent or committed."""

from dataclasses import dataclass
from itertools import chain, groupby, repeat

__all__ = ["Claim", "late_of"]


@dataclass(frozen=True, slots=True)
class Claim:
    """Rows that are ours until the lease ends."""

    claimed_at: str
    lease_until: str
    row_ids: list[str]
    late: list[int]
    """How long after its due time each row was claimed, run by run: milliseconds, number of rows, milliseconds, …"""
    behind: int = 0
    """Batches that no worker had started yet when it was claimed."""


def late_of(claim: Claim, row_ids: list[str]) -> list[int]:
    """Give the runs of `claim.late` for some of its rows, in the order of these."""
    if row_ids == claim.row_ids:
        return claim.late
    each = chain.from_iterable(map(repeat, claim.late[::2], claim.late[1::2]))
    late_ms_of = dict(zip(claim.row_ids, each, strict=True))
    runs = ((late_ms, len(list(run))) for late_ms, run in groupby(late_ms_of[row_id] for row_id in row_ids))
    return list(chain.from_iterable(runs))
