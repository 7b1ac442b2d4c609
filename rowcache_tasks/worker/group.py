"""Claims in groups, one for each SELECT."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rowcache_tasks.schedule.claim import Claim
from rowcache_tasks.schedule.cut import cut


def row_ids_of(claims: Sequence[Claim]) -> list[str]:
    """Return the rows of some claims."""
    return [row_id for claim in claims for row_id in claim.row_ids]


def group_claims(claims: Sequence[Claim], size: int) -> Iterator[list[Claim]]:
    """Group claims by SELECT: of up to `size` rows each. A longer claim is cut."""
    group: list[Claim] = []
    room = size
    for claim in claims:
        for row_ids in cut(claim.row_ids, size):
            if len(row_ids) > room:
                yield group
                group, room = [], size
            group.append(replace(claim, row_ids=row_ids))
            room -= len(row_ids)
    if group:
        yield group
