"""Own the policy of reading a batch: one question for all keys, and more only to single out bad rows.

Must not know SQL or row ids: how to ask, and what an error means, is passed in.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

NOT_UNIQUE = "more than one row has this key: name columns that are unique together"


class Batch:
    """Reads rows by their keys. Afterwards a key with a reason cannot be read; one in neither has no row."""

    def __init__(
        self,
        select: Callable[[list[Any]], Sequence[Any]],
        key_of: Callable[[Any], Any],
        reason_of: Callable[[Exception], str | None],
    ) -> None:
        """Take how to ask for the rows of some keys, and the meaning of the errors that this raises.

        `reason_of` returns None for an error that no single row causes: it is passed on.
        """
        self._select = select
        self._key_of = key_of
        self._reason_of = reason_of
        self.rows: dict[Any, Any] = {}
        """Key -> its row."""
        self.reasons: dict[Any, str] = {}
        """Key -> why it has no row to give; goes before `rows`."""

    def read(self, keys: list[Any]) -> None:
        """Read the rows of these keys, none given twice. One question when all is well."""
        try:
            rows = self._select(keys)
        except Exception as error:
            reason = self._reason_of(error)
            if reason is None:
                raise
            if len(keys) == 1:
                self.reasons[keys[0]] = reason
            else:
                self._read_halves(keys)
            return
        if len(keys) == 1:
            self._assign_all(rows, keys[0])
        else:
            self._assign(rows, keys)

    def _assign(self, rows: Sequence[Any], keys: list[Any]) -> None:
        """Give each row to its key."""
        found = dict(zip(map(self._key_of, rows), rows, strict=True))
        missing = [key for key in keys if key not in found]
        if not missing and len(rows) == len(keys):  # as usual: each key has its row, and there is no other row
            self.rows |= found
            return
        if len(found) < len(rows):
            for key, count in Counter(map(self._key_of, rows)).items():
                if count > 1:
                    self.reasons[key] = NOT_UNIQUE
        strangers = found.keys() - keys
        for key in strangers:
            del found[key]
        self.rows |= found
        # The database may call keys equal that are not so here (letter case, accents, padding).
        if strangers:
            self._read_halves(missing)  # asked for one key alone, it answers with that key's rows
        elif found and missing and is_text(missing[0]):
            self.read(missing)  # the row of one of these may have gone to another text for it

    def _assign_all(self, rows: Sequence[Any], key: Any) -> None:
        """Give the rows to the only key that was asked for."""
        if rows:
            self.rows[key] = rows[0]
        if len(rows) > 1:
            self.reasons[key] = NOT_UNIQUE

    def _read_halves(self, keys: list[Any]) -> None:
        middle = len(keys) // 2
        for half in (keys[:middle], keys[middle:]):
            if half:
                self.read(half)


def is_text(key: Any) -> bool:
    """Whether a key is text, at least in part."""
    return isinstance(key, str) or (isinstance(key, tuple) and any(isinstance(part, str) for part in key))
