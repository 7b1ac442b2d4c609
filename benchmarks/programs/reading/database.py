"""No cache: the rows from PostgreSQL, by primary key.

psycopg: one connection in autocommit, a prepared statement, dictionaries. SQLAlchemy Core: a connection of the pool for
each read, as applications do it, in autocommit; the statement is built once, and psycopg prepares it from its fifth
execution on. SQLAlchemy ORM: Session.get in a session of its own, in autocommit, too.
"""

import os
from typing import Any

import psycopg
import sqlalchemy
from psycopg.rows import dict_row
from sqlalchemy.orm import DeclarativeBase, Session

from benchmarks.programs.reading.service import serve


def main() -> None:
    """Serve until the standard input ends."""
    connection = psycopg.connect(os.environ["BENCH_DATABASE"], autocommit=True, row_factory=dict_row)
    cursor = connection.cursor()
    engine = sqlalchemy.create_engine(os.environ["BENCH_SQLALCHEMY"], isolation_level="AUTOCOMMIT")
    table = sqlalchemy.Table("inventory", sqlalchemy.MetaData(), autoload_with=engine)
    by_key = sqlalchemy.select(table).where(table.c.id == sqlalchemy.bindparam("row_id"))
    by_keys = sqlalchemy.select(table).where(table.c.id.in_(sqlalchemy.bindparam("row_ids", expanding=True)))

    class Base(DeclarativeBase):
        metadata = table.metadata

    class Inventory(Base):
        __table__ = table

    def get(row_id: str) -> Any:
        return cursor.execute("SELECT * FROM inventory WHERE id = %s", [int(row_id)], prepare=True).fetchone()

    def get_many(row_ids: list[str]) -> Any:
        numbers = [int(row_id) for row_id in row_ids]
        rows = cursor.execute("SELECT * FROM inventory WHERE id = ANY(%s)", [numbers], prepare=True).fetchall()
        found = {row["id"]: row for row in rows}
        return {row_id: found[number] for row_id, number in zip(row_ids, numbers, strict=True)}

    def core(row_id: str) -> Any:
        with engine.connect() as connection:
            return connection.execute(by_key, {"row_id": int(row_id)}).mappings().one()

    def core_many(row_ids: list[str]) -> Any:
        numbers = [int(row_id) for row_id in row_ids]
        with engine.connect() as connection:
            found = {row["id"]: row for row in connection.execute(by_keys, {"row_ids": numbers}).mappings()}
        return {row_id: found[number] for row_id, number in zip(row_ids, numbers, strict=True)}

    def orm(row_id: str) -> Any:
        with Session(engine) as session:
            return session.get(Inventory, int(row_id))

    serve({"psycopg": get, "core": core, "orm": orm}, {"psycopg": get_many, "core": core_many})


if __name__ == "__main__":
    main()
