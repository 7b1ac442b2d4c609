"""Own the words for a cached row that does not fit the reader's type: the column, what was found, what was expected.

Must not know Redis or SQL. Of the row's contents only words such as "infinity" are shown.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

MAX_REASON = 200
"""Characters of msgspec's words, or of those of a type's own check."""

PATH = re.compile(r" - at `\$(.*)`\Z", re.DOTALL)
MISSING = re.compile(r"Object missing required field `(.*)`\Z", re.DOTALL)
UNKNOWN = re.compile(r"Object contains unknown field `(.*)`\Z", re.DOTALL)
SHOWN = frozenset({"infinity", "-infinity", "NaN", "Infinity", "-Infinity"})
"""Values of dates and numbers that most types do not have."""
KINDS = ((bool, "a boolean"), (int, "an integer"), (float, "a number"), (list, "an array"), (dict, "an object"))


def describe_mismatch(
    error: Exception, row: Mapping[str, Any], columns: Sequence[str], decode: Callable[[bytes], Any]
) -> str:
    """Say in one line which column is wrong and how. `columns` are those of the type: none of a dictionary."""
    words = str(error)
    if missing := MISSING.match(words):
        return f"column {show(missing[1])}: found none, and the field has no default"
    if unknown := UNKNOWN.match(words):
        return f"column {show(unknown[1])}: found one, and the type has no such field"
    path = PATH.search(words)
    reason = " ".join(PATH.sub("", words).split())[:MAX_REASON]
    column = find_column(path[1] if path else "", row, columns, decode)
    if column is None:
        return reason
    if reason.startswith("Invalid enum value"):
        reason = "Invalid enum value"
    if "got `" not in reason:
        reason += f", found {describe_kind(row.get(column))}"
    return f"column {show(column)}: {reason}"


def find_column(
    path: str, row: Mapping[str, Any], columns: Sequence[str], decode: Callable[[bytes], Any]
) -> str | None:
    """Take the column out of msgspec's path, or try each alone. None: no single one is wrong."""
    named = [name for name in columns if path.startswith((f".{name}.", f".{name}[")) or path == f".{name}"]
    if named:
        return max(named, key=len)
    for name, value in row.items():
        try:
            if columns:
                msgspec.json.decode(json.dumps(value))
            else:
                decode(json.dumps({name: value}).encode())
        except (ValueError, RecursionError):
            return name
    return None


def describe_kind(value: object) -> str:
    """Name the JSON kind of a value."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f'"{value}"' if value in SHOWN else f"a string of {len(value)} characters"
    return next(name for kind, name in KINDS if isinstance(value, kind))


def show(column: str) -> str:
    """Quote a column's name, which may be anything."""
    return ascii(column[:63])
