"""Own the check that a contender did the work: what is in the cache is what is in the database."""

import json
import random

import msgspec
import psycopg
from psycopg.rows import dict_row

from benchmarks.stage import Stage

VALUES = 200


def compare_values(stage: Stage, name: str, rows: int, count: int = VALUES) -> None:
    """Compare so many values, chosen by chance among the rows 1 to `rows`; raises AssertionError at a difference.

    Equal means the same members of JSON, as msgspec writes them, which all contenders use; their order is free.
    """
    ids = random.sample(range(1, rows + 1), min(rows, count))
    values = stage.client.mget([f"inv:{n}" for n in ids])
    with psycopg.connect(stage.conninfo, autocommit=True, row_factory=dict_row) as connection:
        found = connection.execute("SELECT * FROM inventory WHERE id = ANY(%s)", [ids]).fetchall()
    expected = {row["id"]: json.loads(msgspec.json.encode(row)) for row in found}
    for n, value in zip(ids, values, strict=True):
        assert value is not None, f"{name} has not cached row {n}"
        cached = json.loads(value)
        assert cached == expected[n], f"{name} has cached row {n} as\n{cached}\ninstead of\n{expected[n]}"
