"""Own what the person who measures asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How much is measured. A quick run shows whether all of it works; its figures are rough."""

    is_quick: bool = False

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return 100_000 if self.is_quick else 1_000_000

    @property
    def rounds(self) -> int:
        """Repetitions of what takes seconds."""
        return 2 if self.is_quick else 5
