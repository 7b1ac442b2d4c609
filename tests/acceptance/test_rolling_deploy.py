"""A new table is rolled out: the dispatcher and one worker have it in their settings, another worker does not yet."""

import pytest
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

NEW = "rowcache_tables = {'inv': {'table': 'inventory'}, 'users': {'table': 'users', 'namespace': 'users'}}"
ROWS = [str(number) for number in range(1, 501)]


def test_rows_of_a_new_table_are_fresh_while_an_old_worker_still_takes_their_batches(deployment):
    deployment.sql("CREATE TABLE users AS SELECT id, name FROM inventory")
    deployment.sql("ALTER TABLE users ADD PRIMARY KEY (id)")
    (deployment.folder / "new_settings.py").write_text(f"from celeryconfig import *\n{NEW}\n")
    deployment.env["PYTHONPATH"] += f":{deployment.folder}"
    deployment.env["ROWCACHE_LEASE"] = "600"
    deployment.passwords = {}  # the roles of the tests have no rights to this namespace
    new = {"CELERY_CONFIG_MODULE": "new_settings"}
    client = deployment.client
    began, _ = client.time()
    deployment.start_worker("old")
    deployment.start_worker("new", **new)
    deployment.start_beat(**new)
    for name in ("old", "new"):
        wait_until(lambda name=name: "ready." in deployment.log(name), f"the {name} worker is ready")
    client.zadd("delay:users", dict.fromkeys(ROWS, 1))
    client.zadd("schedule:users", {row_id: client.time()[0] + int(row_id) / 500 for row_id in ROWS})
    wait_until(lambda: client.exists(*(f"users:{row_id}" for row_id in ROWS)) == len(ROWS), "all rows are cached")
    wait_until(lambda: any(b"worker old@" in record for record in client.hvals("failures:users")), "errors name it")
    for _ in range(3):
        now, _ = client.time()
        wait_until(lambda now=now: min(client.zmscore("refreshed:users", ROWS)) > now, "no row waits for its lease")
    minutes = 1 + (client.time()[0] - began) // 60
    assert 1 <= deployment.log("old").count("unknown_table: worker old@") <= 2 * minutes, "a line a minute and process"
    assert "users" not in "".join(line for line in deployment.log("new").splitlines() if "WARNING" in line)
