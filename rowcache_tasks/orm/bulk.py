"""Rows that a bulk UPDATE, DELETE or INSERT changes, ORM or Core."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Dialect, select
from sqlalchemy.engine import CursorResult, Result
from sqlalchemy.orm import ORMExecuteState

from rowcache_tasks.orm.mapped_key import MappedKey, base_table

logger = logging.getLogger(__name__)


class BulkStatement:
    """One statement on a table of registered classes; after `run`, `rows` has the rows that it changed.

    - With a list of parameters, as for an ORM UPDATE by primary key, the keys are taken from the parameters.
    - Otherwise the database RETURNs the keys; the application's result stays the same.
    - Where it cannot, or the statement has a RETURNING of its own, the keys are SELECTed just before. Rows that match
      only since then are missed.
    - Keys that the server generates in an INSERT are not needed: such a row is not cached yet.
    """

    def __init__(self, state: ORMExecuteState, keys: Sequence[MappedKey], warned: set[str]) -> None:
        """`keys`: those of the tables that it changes. `warned`: cached tables with a warning in the log."""
        self._state = state
        self._statement: Any = state.statement
        self._keys = keys
        self._warned = warned
        self._dialect: Dialect = state.session.get_bind(**state.bind_arguments).dialect
        self.rows: list[tuple[str, str]] = []  # table and row id of each changed row

    def run(self) -> Result[Any]:
        """Run the statement; returns the result that the application expects."""
        parameters = self._state.parameters
        if isinstance(parameters, Mapping):
            parameters = [parameters] if self._state.is_insert and parameters else None
        if parameters:
            return self._run_with(parameters)
        returning = {key: columns for key in self._keys if (columns := self._can_return(key))}
        if not self._state.is_insert:
            for key in self._keys:
                if key not in returning:
                    self._select_keys(key)
        if not returning:
            return self._state.invoke_statement()
        return self._run_returning(returning)

    def _run_returning(self, returning: Mapping[MappedKey, list[Any]]) -> Result[Any]:
        """Run the statement; take the keys from the rows that the database RETURNs."""
        columns = [column for key_columns in returning.values() for column in key_columns]
        if is_from_select := self._state.is_insert and self._statement.select is not None:
            statement = self._statement.returning(*columns)
        else:
            statement = self._statement.return_defaults(supplemental_cols=columns)
        result: CursorResult[Any] = self._state.invoke_statement(statement=statement)  # type: ignore[assignment]
        rows = result.all() if is_from_select else result.returned_defaults_rows or ()
        for key, key_columns in returning.items():
            for row in rows:
                self._add(key, [row._mapping[column] for column in key_columns])
        if not is_from_select and result.returns_rows:
            result.fetchall()  # the application has not asked for these rows
        return result

    def _run_with(self, parameters: Sequence[Mapping[str, Any]]) -> Result[Any]:
        """Run the statement; take the keys from its parameters."""
        result = self._state.invoke_statement()
        for key in self._keys:
            found = [values for given in parameters if (values := key.values_in(given)) is not None]
            for values in found:
                self._add(key, values)
            if len(found) < len(parameters) and not self._state.is_insert:
                self._warn(
                    key, "a bulk statement changes are not refreshed at once: their keys are not among its parameters"
                )
        return result

    def _warn(self, key: MappedKey, reason: str) -> None:
        """Log once for each table."""
        if key.table not in self._warned:
            self._warned.add(key.table)
            logger.warning(
                "rows of %s that %s; name them with touched(session, %r, row_ids)", key.table, reason, key.table
            )

    def _can_return(self, key: MappedKey) -> list[Any] | None:
        """Return the key columns that the statement can RETURN; None when it cannot."""
        statement, dialect = self._statement, self._dialect
        if statement.exported_columns:  # it has a RETURNING of its own
            return None
        if self._state.is_insert:
            able = dialect.insert_returning
        elif self._state.is_update:
            able = dialect.update_returning and dialect.update_returning_multifrom
        else:
            able = dialect.delete_returning and dialect.delete_returning_multifrom
        return key.columns_of(statement.table) if able else None

    def _select_keys(self, key: MappedKey) -> None:
        """Select the keys that the statement is about to change."""
        if _has_limit(self._statement):
            self._warn(key, "an UPDATE or DELETE with LIMIT changes are not refreshed at once: the database picks them")
            return
        where, table = self._statement.whereclause, self._statement.table
        columns = key.columns if base_table(table) is table else key.columns_of(table) or key.columns
        matching = select(*columns) if where is None else select(*columns).where(where)
        for row in self._state.session.execute(matching, self._state.parameters or {}).all():
            self._add(key, row)

    def _add(self, key: MappedKey, values: Sequence[Any]) -> None:
        row_id = key.row_id(values, self._dialect)
        if row_id is not None:
            self.rows.append((key.table, row_id))


def _has_limit(statement: Any) -> bool:
    """Whether a statement has the LIMIT of MySQL or MariaDB: an extension, or the option of SQLAlchemy before 2.1."""
    options = (statement.kwargs.get(f"{name}_limit") for name in ("mysql", "mariadb"))
    return getattr(statement, "_post_criteria_clause", None) is not None or any(limit is not None for limit in options)
