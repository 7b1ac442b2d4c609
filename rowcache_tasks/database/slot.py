"""Changed rows of PostgreSQL tables, by a logical replication slot."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Engine

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.dialects import dialect_of
from rowcache_tasks.database.notification import Changes, quoted_relation
from rowcache_tasks.database.outage import source_errors
from rowcache_tasks.database.source import Source
from rowcache_tasks.database.statement import statement
from rowcache_tasks.database.table import SourceTable
from rowcache_tasks.errors import ConfigError, SourceError

COMMIT, TEXT = b"C", ord("t")
PAGE = 1000  # messages that are in memory at a time
PEEK = 10_000
"""Messages of one look at the slot, and the rest of the last transaction: the server keeps them in a file."""
IN_USE = "55006"  # SQLSTATE: another follower reads the slot just now


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
        kind, place = message[place], place + 1
        if kind == TEXT:
            begin, place = place + 4, place + 4 + int.from_bytes(message[place : place + 4])
            values[name] = message[begin:place].decode()
    return values, place


class SlotTable(Source):
    """Table whose changes are in the slot."""

    def place(self) -> str:
        """Return the name of the table, quoted for SQL."""
        return self._read(lambda table: quoted_relation(table, self._engine))

    def relations(self) -> set[int]:
        """Return the OIDs of the table and its partitions."""
        asked = statement("slot_relations")
        return self._ask(lambda table, now: {*now.scalars(asked, {"relation": quoted_relation(table, now)})})

    def row_ids(self, rows: Sequence[Mapping[str, str] | None]) -> tuple[list[str], bool]:
        """Return the ids of rows as pgoutput writes them, and whether there are others: without their whole key."""

        def write(table: SourceTable) -> tuple[list[str], bool]:
            parts = [(name, table.columns[name].key_cast) for name in table.key]
            known = [row for row in rows if row is not None and row.keys() >= {*table.key}]
            keys = [[driver_value(sql_type, row[name]) for name, sql_type in parts] for row in known]
            return [row_id for key in keys if (row_id := table.row_key.write(key))], len(known) < len(rows)

        return self._read(write)


def driver_value(sql_type: str, text: str) -> Any:
    """Return a value of a key as the driver would, of the text that the server sends."""
    if sql_type == 'pg_catalog."bytea"':
        return bytes.fromhex(text[2:])
    return text == "t" if sql_type == 'pg_catalog."bool"' else text


class Slot:
    """Reader of a slot of pgoutput, which keeps changes until they are applied: a crash repeats some and loses none."""

    def __init__(self, engine: Engine, tables: Sequence[Table], name: str) -> None:
        self.name = name  # of the slot, and of the publication
        self._engine = engine
        self._dialect = dialect_of(engine.dialect.name)
        self._tables = {table.name: SlotTable(engine, table) for table in tables}
        self._done = ""

    def check(self) -> None:
        """Raise ConfigError unless the slot and the publication are there, SourceError when unreachable."""
        for table in self._tables.values():
            table.load()
        names = {"slot": self.name, "publication": self.name}
        with self._connected() as connection:
            found = connection.execute(statement("slot"), names).one_or_none()
            published = {*connection.scalars(statement("slot_published"), names)}
        name, tables = self.name, " ".join(self._tables)
        if found is None:
            remedy = f"print the SQL with `rowcache follow {tables} --source slot --sql`, and run it as a superuser"
            raise ConfigError(f"there is no replication slot {name}: {remedy}")
        plugin, is_here, is_publication = found
        if plugin != "pgoutput" or not is_here:
            raise ConfigError(f"replication slot {name} is of {plugin}: it must be of pgoutput, and of this database")
        if not is_publication:
            raise ConfigError(f"there is no publication {name}: CREATE PUBLICATION {name} FOR TABLE …")
        for table in self._tables.values():
            if not table.relations() & published:
                place = table.place()
                raise ConfigError(
                    f"publication {name} has no table {place}: ALTER PUBLICATION {name} ADD TABLE {place}"
                )
        for _ in self._peek("0/1"):  # nothing: only the right to read it is checked
            pass

    def sql(self) -> str:
        """Return the SQL that makes the publication and the slot. Raises SourceError."""
        quote = self._engine.dialect.identifier_preparer.quote
        publication, tables = quote(self.name), ", ".join(table.place() for table in self._tables.values())
        return (
            f"-- To remove both: SELECT pg_drop_replication_slot('{self.name}'); DROP PUBLICATION {publication};\n"
            f"CREATE PUBLICATION {publication} FOR TABLE {tables};\n"
            f"SELECT pg_create_logical_replication_slot('{self.name}', 'pgoutput');\n"
        )

    def changes(self) -> Iterator[Sequence[tuple[str, Changes]]]:
        """Yield changed rows by table, page by page, and remove them after the last page of each look.

        Raises SourceError.
        """
        try:
            with self._connected() as connection:
                until = str(connection.scalar(statement("slot_now")))
            while self._done != until:
                count, end, decoder = 0, until, Decoder()
                for messages in self._peek(until):
                    count += len(messages)
                    if messages[-1][1][:1] == COMMIT:
                        end = messages[-1][0]
                    if rows := [row for _, message in messages for row in decoder.rows(message)]:
                        yield [*self._by_table(rows)]
                done = end if count >= PEEK else until
                with self._connected() as connection:
                    connection.execute(statement("slot_advance"), {"slot": self.name, "until": done})
                self._done = done
        except SourceError as error:
            cause = error.__cause__
            if getattr(getattr(cause, "orig", cause), "sqlstate", "") != IN_USE:
                raise

    def _peek(self, until: str) -> Iterator[Sequence[tuple[str, bytes]]]:
        """Yield messages with their positions, a page at a time; the last one is a commit."""
        names = self._engine.dialect.identifier_preparer.quote_identifier(self.name)
        asked = {"slot": self.name, "until": until, "limit": PEEK, "names": names}
        with self._connected() as connection:
            connection.execution_options(stream_results=True)
            with connection.execute(statement("slot_changes"), asked) as result:
                for rows in result.yield_per(PAGE).partitions():
                    yield [(lsn, bytes(data)) for lsn, data in rows]

    def _by_table(self, rows: Sequence[ChangedRow]) -> Iterator[tuple[str, Changes]]:
        """Yield the ids of rows by table, and None for a table of which all rows, or unknown ones, have changed."""
        found: dict[int, list[Mapping[str, str] | None]] = {}
        for row in rows:
            found.setdefault(row.relation, []).append(row.values)
        for name, table in self._tables.items():
            own = [values for relation in table.relations() & found.keys() for values in found[relation]]
            row_ids, is_incomplete = table.row_ids(own)
            yield name, row_ids
            if is_incomplete:
                yield name, None

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """Open a transaction. Raises SourceError."""
        with (
            source_errors(self._engine, f"replication slot {self.name}"),
            self._dialect.transaction(self._engine) as connection,
        ):
            yield connection
