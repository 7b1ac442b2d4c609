"""Sizes of the calls of a fill."""

from rowcache_tasks.config.settings import Table
from rowcache_tasks.reader.fill.scripts import FillScripts, FillState
from rowcache_tasks.reader.options import ReadThrough


def test_no_call_of_a_fill_has_more_than_50_rows_or_half_a_mebibyte_of_values():
    scripts = FillScripts(Table("inv", "inventory"), ReadThrough())
    for size, rows in ((2, 50), (20_000, 26), (1_000_000, 1)):
        values = dict.fromkeys(map(str, range(120)), b"x" * size)
        written = [call.arguments.count(b"x" * size) for call in scripts.end(b"token", FillState(), values, None)]
        assert (sum(written), max(written)) == (120, rows)
    assert len(scripts.begin([*values], b"token", None)) == 3
