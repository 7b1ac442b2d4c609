"""Own what one session has changed, by the transactions that may still undo it. Knows neither keys nor Redis."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.orm import InstanceState, Session, SessionTransaction

__all__ = ["Frame", "Ledger"]

Row = tuple[str, str]
"""Table and row id."""


@dataclass(slots=True)
class Frame:
    """What one transaction or savepoint has changed."""

    rows: dict[Row, None] = field(default_factory=dict)
    """In the order in which they were changed, each once."""
    flushing: dict[InstanceState[Any], tuple[Dialect, list[Row] | None]] = field(default_factory=dict)
    """Objects that are being written -> where, and their rows before; None: it is new. Empty but within a flush."""

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        self.rows.update(dict.fromkeys(rows))


class Ledger:
    """The frames of one session. Subtransactions, which SQLAlchemy begins for each flush, have none."""

    def __init__(self) -> None:
        self._frames: dict[SessionTransaction, Frame] = {}
        self._committed: dict[Row, None] = {}

    def current(self, session: Session) -> Frame | None:
        """Return the frame of the innermost savepoint, or of the transaction; None outside of a transaction."""
        transaction = session.get_nested_transaction() or session.get_transaction()
        return None if transaction is None else self._frames.setdefault(transaction, Frame())

    def commit(self, session: Session) -> None:
        """Hand what a savepoint has changed to what is around it; keep what a transaction has until its end."""
        transaction = session.get_nested_transaction() or session.get_transaction()
        frame = None if transaction is None else self._frames.pop(transaction, None)
        if transaction is None or frame is None:
            return
        outer = transaction.parent
        while outer is not None and outer.parent is not None and not outer.nested:
            outer = outer.parent
        if outer is None:
            self._committed = frame.rows
        else:
            self._frames.setdefault(outer, Frame()).add(frame.rows)

    def end(self, transaction: SessionTransaction) -> list[Row]:
        """Forget what was not committed. At the end of the outermost transaction, return what was."""
        self._frames.pop(transaction, None)
        if transaction.parent is not None:
            return []
        committed, self._committed = self._committed, {}
        return list(committed)
