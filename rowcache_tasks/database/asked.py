"""Own what the row ids of a batch ask for, and the sorting of what was read back to them.

Must not know SQL or how rows are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rowcache_tasks.database.batch import Batch
from rowcache_tasks.database.keys import RowKey
from rowcache_tasks.text import one_line, shorten

__all__ = ["Asked", "Fetched"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of the row ids that were asked for: each is in exactly one of the three."""

    rows: dict[str, Sequence[object]] = field(default_factory=dict)
    """Row id -> values in the order of the columns, as RowEncoder takes them."""
    missing: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    """Row id -> reason, one line."""


class Asked:
    """The keys that row ids stand for. A row id that is no key has an error and holds up no other."""

    def __init__(self, row_key: RowKey, row_ids: Sequence[str]) -> None:
        self.keys: dict[Any, str] = {}
        """Key -> the first row id that stands for it."""
        self._aliases: list[tuple[str, Any]] = []
        """The other row ids that stand for a key of `keys`, with it."""
        self._errors: dict[str, str] = {}
        plain = row_key.parse_plain(row_ids)
        if plain is not None:
            self.keys = plain
        else:
            self._look_at_each(row_key, row_ids)

    def _look_at_each(self, row_key: RowKey, row_ids: Sequence[str]) -> None:
        for row_id in dict.fromkeys(row_ids):
            try:
                key = row_key.parse(row_id)
            except ValueError as error:
                self._errors[row_id] = one_line(f"row id {shorten(row_id)}: {error}")
            else:
                if self.keys.setdefault(key, row_id) != row_id:
                    self._aliases.append((row_id, key))

    def sort(self, batch: Batch, width: int) -> Fetched:
        """Give each row id what was read for its key; rows are cut to their first `width` values."""
        rows = batch.rows
        if rows and len(next(iter(rows.values()))) != width:
            rows = {key: row[:width] for key, row in rows.items()}
        if not batch.reasons and not self._aliases and len(rows) == len(self.keys):  # the usual case, in C
            found = map(rows.__getitem__, self.keys)
            return Fetched(dict(zip(self.keys.values(), found, strict=True)), errors=self._errors)
        fetched = Fetched(errors=self._errors)
        for row_id, key in [*((row_id, key) for key, row_id in self.keys.items()), *self._aliases]:
            if key in batch.reasons:
                fetched.errors[row_id] = batch.reasons[key]
            elif key in rows:
                fetched.rows[row_id] = rows[key]
            else:
                fetched.missing.append(row_id)
        return fetched
