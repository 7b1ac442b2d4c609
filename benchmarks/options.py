"""Extent of a run: full or quick."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Extent of a run. A quick run shows that everything works; its figures are rough."""

    is_quick: bool = False

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return 100_000 if self.is_quick else 1_000_000

    @property
    def rounds(self) -> int:
        """Repetitions of measurements that take seconds."""
        return 2 if self.is_quick else 5
