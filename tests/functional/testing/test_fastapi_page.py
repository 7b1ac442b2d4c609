"""docs/fastapi.md: its service and its test, as they stand there."""

import os
import sqlite3
import sys

from support.documented import blocks_of
from support.fork_server import run_forked


def test_files_of_the_page_are_a_project_whose_test_passes(tmp_path):
    (tmp_path / "shop").mkdir()
    for block in blocks_of("python ini", "docs/fastapi.md"):
        (tmp_path / block.split()[1]).write_text(block)
    settings = 'rowcache_redis_url = "redis://production.invalid"\nrowcache_database_url = "sqlite:///shop.db"\n'
    (tmp_path / "celeryconfig.py").write_text(settings + 'rowcache_tables = {"inv": {"table": "inv"}}\n')
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.executescript("CREATE TABLE inv (id INTEGER PRIMARY KEY, stock INT); INSERT INTO inv VALUES (1, 3)")
    database.close()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:valkey"]
    done = run_forked(command, env=os.environ, cwd=tmp_path)
    assert done.stdout.splitlines()[-1].startswith("1 passed"), done.stdout + done.stderr
