"""Aligned columns of a table on a terminal."""

from collections.abc import Sequence


def align(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Join cells to a line: the first to the left, the others to the right; a longer cell moves only its own line."""
    first, *others = cells
    numbers = (f" {cell:>{width - 1}}" for cell, width in zip(others, widths[1:], strict=True))
    return first.ljust(widths[0]) + "".join(numbers)
