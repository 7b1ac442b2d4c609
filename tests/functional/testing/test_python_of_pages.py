"""The Python of docs/reading.md, near-cache.md, tasks.md, writing.md and testing.md, run in the project of a user."""

import json
import sys

from support.documented import read_blocks
from support.fork_server import run_forked
from support.project import ROOT

SETTINGS = """
rowcache_redis_url = "redis://production.invalid"
rowcache_database_url = "sqlite:///shop.db"
rowcache_tables = {
    "inv": {"table": "inventory"},
    "users": {"table": "users"},
    "seats": {"table": "seats"},
}
task_always_eager = True
"""
SHOP = """
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from rowcache_tasks import RowCache
from rowcache_tasks.orm import refresh_on_commit

class Base(DeclarativeBase): ...

class Inventory(Base):
    __tablename__ = "inventory"
    id: Mapped[int] = mapped_column(primary_key=True)
    stock: Mapped[int]
    shelf: Mapped[int]

class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)

class Seat(Base):
    __tablename__ = "seats"
    hall: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(primary_key=True)

Item = Inventory
engine = create_engine("sqlite:///shop.db")
Session = sessionmaker(engine)
refresh_on_commit(Session, {Item: "inv"})
inv = RowCache("inv")
Base.metadata.create_all(engine)
with Session.begin() as session:
    session.add_all([Item(id=n, stock=5, shelf=n) for n in (42, 43)])
    session.add_all([User(id=7), Seat(hall=7, number="a")])
"""
TASKS = """
from rowcache_tasks.celery import app

@app.task
def load_prices(): ...
"""
TEST = """
import ast
import asyncio
import inspect
import json
from pathlib import Path
import pytest
from rowcache_tasks.tasks import schedule_row, schedule_rows

@pytest.mark.parametrize("page", [*Path().glob("*.json")], ids=str)
def test_page(rowcache, page):
    schedule_rows.delay("inv", {42: 10, 43: 10})
    schedule_row.delay("users", 7, 10)
    rowcache.refresh()
    names = {}
    for block in json.loads(page.read_text()):
        found = eval(compile(block, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if inspect.iscoroutine(found):
            asyncio.run(found)
    rowcache.refresh()
"""
PAGES = ["reading.md", "near-cache.md", "tasks.md", "writing.md"]


def marked(page):
    """The blocks of a page that name this test."""
    return [
        block.text for block in read_blocks(ROOT / "docs" / page) if block.reason.endswith("test_python_of_pages.py")
    ]


def test_blocks_of_the_pages_run_in_a_project(tmp_path):
    (tmp_path / "shop").mkdir()
    files = {"celeryconfig.py": SETTINGS, "shop/__init__.py": SHOP, "shop/tasks.py": TASKS, "test_other_pages.py": TEST}
    files |= {f"{page}.json": json.dumps(marked(page)) for page in PAGES}
    files |= {"pyproject.toml": marked("testing.md")[0], "test_a_sale.py": marked("testing.md")[1]}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:valkey", "-p", "no:cacheprovider"]
    env = {"PYTHONPATH": ".", "PATH": "/usr/bin:/bin"}
    done = run_forked(command, env=env, cwd=tmp_path)
    assert done.stdout.splitlines()[-1].startswith(f"{len(PAGES) + 1} passed"), done.stdout + done.stderr
