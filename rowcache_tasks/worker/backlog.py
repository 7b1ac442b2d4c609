"""Notifications of bursts that wait for their turn, the newest first."""

from collections.abc import Iterable

CHUNK_ROWS = 1000
MAX_LENGTH = 32_000_000  # characters; three million rows with short keys
SEPARATOR = "\0"  # PostgreSQL sends no such character


class Backlog:
    """Payloads as they were received, joined to texts of about CHUNK_ROWS rows: many small ones take no more memory."""

    def __init__(self) -> None:
        self._chunks: list[tuple[str, str]] = []  # table, payloads
        self._length = 0

    def __bool__(self) -> bool:
        return bool(self._chunks)

    @property
    def is_full(self) -> bool:
        """Whether no more is to be added."""
        return self._length >= MAX_LENGTH

    def add(self, table: str, payloads: Iterable[str]) -> None:
        """Add payloads of a table."""
        some: list[str] = []
        rows = 0
        for payload in payloads:
            some.append(payload)
            rows += count_rows(payload)
            if rows >= CHUNK_ROWS:
                self._push(table, SEPARATOR.join(some))
                some, rows = [], 0
        if some:
            self._push(table, SEPARATOR.join(some))

    def newest(self) -> tuple[str, list[str]]:
        """Return a table and the payloads that were added last."""
        table, text = self._chunks[-1]
        return table, text.split(SEPARATOR)

    def remove_newest(self) -> None:
        """Remove the payloads that were added last."""
        _, text = self._chunks.pop()
        self._length -= len(text)

    def _push(self, table: str, text: str) -> None:
        self._chunks.append((table, text))
        self._length += len(text)


def count_rows(payload: str) -> int:
    """Count the rows of a payload without reading it: keys with this text count as several."""
    return payload.count("],[") + 1
