"""SQL statements, each a file in sql/, read at its first use."""

from functools import cache
from importlib.resources import files

import sqlalchemy as sa


@cache
def read_sql(name: str) -> str:
    """Return the text of a statement."""
    return files("rowcache_tasks.database").joinpath("sql", f"{name}.sql").read_text("utf-8")


@cache
def statement(name: str) -> sa.TextClause:
    """Return a statement with parameters, as :schema."""
    return sa.text(read_sql(name))
