"""Migrations of a cached table under load, without a restart of workers."""

import json

import pytest
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

ROWS = [str(n) for n in range(1, 201)]
SWAP = """
BEGIN;
ALTER TABLE inventory RENAME TO retired;
CREATE TABLE inventory (id bigint PRIMARY KEY, stock bigint NOT NULL);
INSERT INTO inventory SELECT n, 3 FROM generate_series(1, 1000) n;
COMMIT
"""
LIMIT_S = 50
"""5 s, and 20 s for a new column, on a machine that has time. Pauses after failures come to a minute and more."""
CHANGES = {
    "column renamed": ("ALTER TABLE inventory RENAME name TO title", {"stock": 0, "title": "item"}),
    "column dropped": ("ALTER TABLE inventory DROP title", {"stock": 0}),
    "table swapped": (SWAP, {"stock": 3}),
    "type changed": ("ALTER TABLE inventory ALTER stock TYPE text", {"stock": "3"}),
    "column added": ("ALTER TABLE inventory ADD shelf int DEFAULT 7", {"stock": "3", "shelf": 7}),
}


def test_rows_are_refreshed_again_soon_after_each_kind_of_change_of_their_table(deployment):
    deployment.sql("UPDATE inventory SET name = 'item'")
    deployment.schedule.put_rows(dict.fromkeys(ROWS, (0.5, 0)))
    deployment.start_beat(ROWCACHE_BATCH_SIZE="20")
    deployment.start_worker()

    def all_are(expected):
        values = deployment.client.mget([f"inv:{row_id}" for row_id in ROWS])
        wanted = [{"id": int(row_id), **expected} for row_id in ROWS]
        return [value and json.loads(value) for value in values] == wanted

    wait_until(lambda: all_are({"name": "item", "stock": 0}), "all rows are cached")
    for change, (statement, expected) in CHANGES.items():
        deployment.sql(statement)
        wait_until(lambda expected=expected: all_are(expected), f"all rows are as after: {change}", LIMIT_S)
    wait_until(lambda: deployment.client.hlen("failures:") == 0, "no row fails")
    assert "Traceback" not in deployment.log("worker")


def test_named_column_that_is_gone_is_named_in_the_record_of_failures(deployment):
    deployment.schedule.put_rows(dict.fromkeys(ROWS, (0.5, 0)))
    settings = deployment.folder / "named_columns.py"
    settings.write_text(
        "from celeryconfig import *\n"
        'rowcache_tables = {"inv": {"table": "inventory", "columns": ["id", "name"]}}\n'
        "rowcache_max_backoff = 1\n"
    )
    env = {"CELERY_CONFIG_MODULE": "named_columns", "PYTHONPATH": f"{deployment.env['PYTHONPATH']}:{deployment.folder}"}
    deployment.start_beat(**env)
    deployment.start_worker(**env)
    wait_until(lambda: deployment.stat("refreshed") >= len(ROWS), "all rows are cached")
    deployment.sql("ALTER TABLE inventory RENAME name TO title")
    wait_until(lambda: deployment.client.hlen("failures:") == len(ROWS), "all rows fail")
    record = json.loads(deployment.client.hget("failures:", "1"))
    assert "rowcache_tables['inv']['columns']: 'inventory' has no column 'name'" in record["error"]
    assert deployment.client.get("inv:1") == b'{"id":1,"name":"item 1"}', "the last good value stays"
    deployment.sql("ALTER TABLE inventory RENAME title TO name")
    wait_until(lambda: deployment.client.hlen("failures:") == 0, "they are refreshed again")
