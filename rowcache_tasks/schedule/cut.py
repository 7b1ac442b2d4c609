"""Bounds of one call of a script, and lists cut by them."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

SCRIPT_BATCH = 200  # rows in one call of a script but a claim: about 2 ms, for which the server does nothing else
CALL_BYTES = 512 * 1024  # of values in one commit; a longer value has a call of its own. A MiB takes about 1 ms


def cut(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut a stream into lists of up to `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def cut_by_bytes(values: Mapping[str, bytes]) -> Iterator[list[str]]:
    """Cut the row ids of values, sorted, into lists of up to SCRIPT_BATCH rows and CALL_BYTES of values."""
    batch: list[str] = []
    size = 0
    for row_id in sorted(values):
        size += len(values[row_id])
        if batch and (size > CALL_BYTES or len(batch) == SCRIPT_BATCH):
            yield batch
            batch, size = [], len(values[row_id])
        batch.append(row_id)
    if batch:
        yield batch
