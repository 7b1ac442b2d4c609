from collections import Counter
from itertools import pairwise

import pytest

from rowcache_tasks.worker.whole_table import ALONE, BATCH, spread

DELAY = 100.0


def starts_of(rows):
    """Spread rows as a table of so many is."""
    starts = {}
    for count in range(0, rows, BATCH):
        batch = dict.fromkeys(map(str, range(count, min(count + BATCH, rows))), DELAY)
        starts |= {row_id: start for row_id, (_, start) in spread(batch, count).items()}
    return starts


@pytest.mark.parametrize("rows", [2, 100, ALONE])
def test_rows_of_a_small_table_start_one_by_one(rows):
    starts = sorted(starts_of(rows).values())

    assert max(later - earlier for earlier, later in pairwise(starts)) < 2 * DELAY / rows


@pytest.mark.parametrize("rows", [50_000, 200_000])
def test_rows_of_a_large_table_start_evenly(rows):
    each_second = Counter(int(start) for start in starts_of(rows).values())

    assert len(each_second) == DELAY
    assert max(each_second.values()) - min(each_second.values()) <= 3 * BATCH


def test_rows_that_follow_each_other_in_a_large_table_make_one_batch():
    starts = starts_of(ALONE + 3 * BATCH)

    assert len({starts[str(n)] for n in range(ALONE, ALONE + BATCH)}) == 1
    assert len({starts[str(n)] for n in range(ALONE, ALONE + 3 * BATCH)}) == 3
