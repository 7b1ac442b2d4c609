"""Faults in words."""

import pytest

from rowcache_tasks.ops.problem import show_percent


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.999, "99 %"), (1 / 3, "33 %"), (0.001, "0.1 %"), (0.0001, "0.01 %"), (1e-7, "under 0.01 %")],
)
def test_share_of_failing_rows_is_written_in_digits_and_never_as_all_or_none(share, text):
    assert show_percent(share) == text
