"""Workers and an application on one pool of PgBouncer in transaction mode."""

import pytest
from support.pgbouncer import PgBouncer, find_pgbouncer
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

WRITES = 80


def test_application_on_the_pool_of_the_workers_can_write_and_no_refresh_fails(deployment):
    if not find_pgbouncer():
        pytest.skip("needs PgBouncer (Debian: apt install pgbouncer)")
    with PgBouncer(deployment.database_url, size=3) as pooler:
        deployment.env |= {"ROWCACHE_DATABASE_URL": pooler.url}
        deployment.schedule.put_rows({str(n): (1, n / 1000) for n in range(1, 1001)})
        deployment.start_beat(ROWCACHE_BATCH_SIZE="50")
        deployment.start_worker("worker", "--concurrency=4")
        wait_until(lambda: deployment.stat("refreshed") >= 1000, "all rows are cached")
        refreshed, read_only = done(deployment), set()
        with pooler.connect() as application, pooler.connect() as watcher:
            for n in range(WRITES):
                application.execute(f"UPDATE inventory SET stock = stock + 1 WHERE id = {n % 20 + 1}")
                read_only.add(watcher.execute("SHOW default_transaction_read_only").fetchone()[0])
                # The workers are busy meanwhile.
                wait_until(lambda n=n: done(deployment) >= refreshed + 2000 * n / WRITES, "rows are refreshed")
        assert deployment.sql("SELECT sum(stock) FROM inventory") == [(WRITES,)]
        assert read_only == {"off"}
        assert deployment.stat("failed") == 0
        assert deployment.client.hlen("failures:") == 0


def done(deployment):
    return deployment.stat("refreshed") + deployment.stat("unchanged")
