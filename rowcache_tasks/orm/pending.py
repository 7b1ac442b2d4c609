"""Rows that a session has changed, by transaction."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.orm import InstanceState, Session, SessionTransaction

Row = tuple[str, str]
"""Table and row id."""


@dataclass(slots=True)
class Changes:
    """Changes of one transaction or savepoint."""

    rows: dict[Row, None] = field(default_factory=dict)
    """Each once, in the order of the changes."""
    flushing: dict[InstanceState[Any], tuple[Dialect, list[Row], bool]] = field(default_factory=dict)
    """Objects of the flush under way -> dialect, rows before, and whether a column was changed before the flush."""

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        self.rows.update(dict.fromkeys(rows))


class PendingChanges:
    """Changes of one session, by transaction. The subtransactions that SQLAlchemy begins for each flush have none."""

    def __init__(self) -> None:
        self._changes: dict[SessionTransaction, Changes] = {}
        self._committed: dict[Row, None] = {}

    def current(self, session: Session) -> Changes | None:
        """Return the changes of the innermost savepoint or transaction; None outside of a transaction."""
        transaction = _innermost(session)
        return None if transaction is None else self._changes.setdefault(transaction, Changes())

    def commit(self, session: Session) -> None:
        """Move the changes of a savepoint to the transaction around it; keep those of a transaction until its end."""
        transaction = _innermost(session)
        changes = None if transaction is None else self._changes.pop(transaction, None)
        if transaction is None or changes is None:
            return
        outer = transaction.parent
        while outer is not None and outer.parent is not None and not outer.nested:
            outer = outer.parent
        if outer is None:
            self._committed = changes.rows
        else:
            self._changes.setdefault(outer, Changes()).add(changes.rows)

    def end(self, transaction: SessionTransaction) -> list[Row]:
        """Forget the changes that were not committed; returns the committed ones if the transaction is outermost."""
        self._changes.pop(transaction, None)
        if transaction.parent is not None:
            return []
        committed, self._committed = self._committed, {}
        return list(committed)


def _innermost(session: Session) -> SessionTransaction | None:
    """Return the innermost savepoint, or the transaction."""
    return session.get_nested_transaction() or session.get_transaction()
