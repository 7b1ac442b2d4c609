"""Keys of rows, and their text form: the row id."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from rowcache_tasks.database.key_type import KeyType, as_it_is
from rowcache_tasks.errors.text import MAX_TEXT, one_line, shorten
from rowcache_tasks.schedule.row_id import join_row_id, split_row_id


class RowKey:
    """Key of a table: row ids to values and back. A key of one column is a bare value, of several a tuple."""

    def __init__(self, types: Sequence[KeyType]) -> None:
        self._types = tuple(types)
        self._writers = [kind.write if kind.read is as_it_is else _composed(kind) for kind in types]
        self.width = len(self._types)  # number of columns

    def parse(self, row_id: str) -> Any:
        """Return the key of a row id; raises ValueError with the reason when it has none."""
        if not row_id:
            raise ValueError("it is empty")
        if self.width == 1:
            return self._types[0].parse(row_id)
        key = []
        for number, part in enumerate(split_row_id(row_id, self.width)):
            try:
                key.append(self._types[number].parse(part))
            except ValueError as error:
                raise ValueError(f"part {number + 1}: {error}") from error
        return tuple(key)

    def parse_all(self, row_ids: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return row id -> key, and row id -> reason, one line, for each that has none."""
        canonical = self.parse_canonical(row_ids)
        keys = dict(zip(row_ids, canonical or (), strict=False))
        if canonical is not None and "" not in keys:
            return keys, {}
        keys = {}
        errors: dict[str, str] = {}
        for row_id in row_ids:
            try:
                keys[row_id] = self.parse(row_id)
            except ValueError as error:
                errors[row_id] = one_line(f"row id {shorten(row_id)}: {error}", MAX_TEXT)
        return keys, errors

    def parse_canonical(self, row_ids: Sequence[str]) -> Sequence[Any] | None:
        """Return the keys of a usual batch, column by column; None unless each row id, or empty text, is canonical."""
        if not row_ids:
            return []
        if self.width == 1:
            return self._types[0].parse_canonical(row_ids)
        parts = [row_id.split(",") for row_id in row_ids]
        if "%" in "".join(row_ids) or any(len(row) != self.width for row in parts):
            return None
        columns = [
            kind.parse_canonical(texts) for kind, texts in zip(self._types, zip(*parts, strict=True), strict=True)
        ]
        return None if None in columns else list(zip(*columns, strict=True))

    def aliases(self, row_ids: Sequence[str]) -> dict[str, str]:
        """Return the row ids that are another text for a key ("042") -> the canonical one ("42")."""
        keys, _ = self.parse_all(row_ids)
        texts = {row_id: self.text(key) for row_id, key in keys.items()}
        return {row_id: text for row_id, text in texts.items() if text != row_id}

    def getter(self, positions: Sequence[int]) -> Callable[[Sequence[Any]], Any]:
        """Make the function that returns the key of a row of driver values."""
        take: Callable[[Sequence[Any]], Any] = itemgetter(*positions)
        reads = [kind.read for kind in self._types]
        if all(read is as_it_is for read in reads):
            return take
        if len(reads) == 1:
            return lambda row: reads[0](take(row))
        return lambda row: tuple(read(value) for read, value in zip(reads, take(row), strict=True))

    def write(self, values: Sequence[Any]) -> str:
        """Return the canonical row id of driver values, none of them NULL; empty for a key that has none."""
        return join_row_id([write(value) for write, value in zip(self._writers, values, strict=True)])

    def text(self, key: Any) -> str:
        """Return the canonical row id of a key, as `parse` returns it."""
        values = key if self.width > 1 else (key,)
        return join_row_id([kind.write(value) for kind, value in zip(self._types, values, strict=True)])


def _composed(kind: KeyType) -> Callable[[Any], str]:
    return lambda value: kind.write(kind.read(value))
