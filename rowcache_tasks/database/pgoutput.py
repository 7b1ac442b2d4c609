"""Messages of pgoutput, the output plugin of PostgreSQL for logical replication, version 1 of its protocol."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

COMMIT = b"C"


class ChangedRow(NamedTuple):
    """A row of a change."""

    relation: int  # OID of its table
    values: dict[str, str] | None  # column -> text, as far as it is sent; None: all rows of the table, by TRUNCATE


class Decoder:
    """Reader of the messages of one session: the columns of a table are sent before its first row."""

    def __init__(self) -> None:
        self._columns: dict[int, list[str]] = {}

    def rows(self, message: bytes) -> Iterator[ChangedRow]:
        """Yield the rows of a message: of an UPDATE of the key the old and the new row. Others have none."""
        kind, place = message[:1], 5
        if kind not in b"RIUDT":
            return
        (first,) = struct.unpack_from("!I", message, 1)
        if kind == b"R":
            self._columns[first] = list(read_columns(message))
        elif kind == b"T":  # first: the number of tables; a byte of options follows
            for relation in struct.unpack_from(f"!{first}I", message, 6):
                yield ChangedRow(relation, None)
        else:
            while place < len(message):  # a byte for old or new precedes each row
                values, place = read_row(message, place + 1, self._columns[first])
                yield ChangedRow(first, values)


def read_columns(message: bytes) -> Iterator[str]:
    """Yield the names of the columns of a relation message."""
    place = message.index(b"\0", message.index(b"\0", 5) + 1) + 2  # after schema, name and replica identity
    (count,) = struct.unpack_from("!H", message, place)
    place += 2
    for _ in range(count):
        end = message.index(b"\0", place + 1)  # after the flags
        yield message[place + 1 : end].decode()
        place = end + 9  # type and its modifier


def read_row(message: bytes, place: int, columns: list[str]) -> tuple[dict[str, str], int]:
    """Return the values that are sent, and the place after the row. NULL and unchanged large values are left out."""
    (count,) = struct.unpack_from("!H", message, place)
    place += 2
    values: dict[str, str] = {}
    for name in columns[:count]:
        kind, place = message[place : place + 1], place + 1
        if kind == b"t":
            (length,) = struct.unpack_from("!I", message, place)
            place += 4 + length
            values[name] = message[place - length : place].decode()
    return values, place
