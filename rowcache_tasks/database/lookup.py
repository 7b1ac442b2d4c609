"""Lookup of rows by key: one SELECT, more only to single out bad rows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rowcache_tasks.database.encoding import RowEncoder

NOT_UNIQUE = "more than one row has this key: name columns that are unique together"


@dataclass(slots=True)
class Found:
    """Outcome of a lookup. Each row id is in exactly one of the three."""

    rows: dict[str, Sequence[object]] = field(default_factory=dict)
    """Row id -> values in the order of the statement's columns."""
    missing: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)  # row id -> reason, one line


@dataclass(slots=True, kw_only=True)
class Fetched(Found):
    """Outcome of a fetch."""

    encoder: RowEncoder  # encoder of these rows


def lookup(
    keys: Mapping[str, Any],
    select: Callable[[list[Any]], Sequence[Any]],
    key_of: Callable[[Any], Any],
    reason_of: Callable[[Exception], str | None],
) -> Found:
    """Read the rows of `keys` (row id -> key; several row ids may have one key).

    `select` returns the rows of some keys, `key_of` the key of a row. When `select` fails, `reason_of` returns why a
    row cannot be read, or None for an error that no single row causes: that one is raised. Failing batches are halved,
    so a bad row among n costs about 2 log2(n) statements and is the only one in `errors`.
    """
    rows: dict[Any, Any] = {}
    errors: dict[Any, str] = {}
    unread = [list(keys.values())] if keys else []
    while unread:
        batch = unread.pop()
        try:
            selected = select(batch)
        except Exception as error:
            reason = reason_of(error)
            if reason is None:
                raise
            if len(batch) == 1:
                errors[batch[0]] = reason
            else:
                unread += _halves(batch)
        else:
            unread += _assign(selected, batch, key_of, rows, errors)
    if not errors and len(rows) == len(keys):  # the usual case, in C
        return Found(dict(zip(keys, map(rows.__getitem__, keys.values()), strict=True)))
    found = Found()
    for row_id, key in keys.items():
        if key in errors:
            found.errors[row_id] = errors[key]
        elif key in rows:
            found.rows[row_id] = rows[key]
        else:
            found.missing.append(row_id)
    return found


def _assign(
    selected: Sequence[Any],
    batch: list[Any],
    key_of: Callable[[Any], Any],
    rows: dict[Any, Any],
    errors: dict[Any, str],
) -> list[list[Any]]:
    """Add the selected rows; return the batches to select again: the database may call keys equal that differ here."""
    if len(batch) == 1:  # whichever text the database has for this key
        rows.update(zip(batch, selected, strict=False))
        if len(selected) > 1:
            errors[batch[0]] = NOT_UNIQUE
        return []
    found = dict(zip(map(key_of, selected), selected, strict=True))
    missing = [key for key in batch if key not in found]
    if not missing and len(selected) == len(batch):  # the usual case
        rows |= found
        return []
    if len(found) < len(selected):
        errors |= {key: NOT_UNIQUE for key, count in Counter(map(key_of, selected)).items() if count > 1}
    unasked = found.keys() - batch
    rows |= {key: row for key, row in found.items() if key not in unasked}
    if unasked:
        return _halves(missing)  # a key that is selected alone gets the rows of its equals
    if found and missing and _is_text(missing[0]):
        return [missing]  # the database may have returned its row under an equal text
    return []


def _halves(batch: list[Any]) -> list[list[Any]]:
    middle = len(batch) // 2
    return [half for half in (batch[:middle], batch[middle:]) if half]


def _is_text(key: Any) -> bool:
    return isinstance(key, str) or (isinstance(key, tuple) and any(isinstance(part, str) for part in key))
