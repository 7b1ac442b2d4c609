"""Workers and an application on one pool of PgBouncer in transaction mode."""

import threading
import time

import pytest
from support.pgbouncer import PgBouncer, find_pgbouncer
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

LOAD_S = 4
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
        started = time.monotonic()
        read_only = set()

        def watch():
            with pooler.connect() as watcher:
                while time.monotonic() - started < LOAD_S:
                    read_only.add(watcher.execute("SHOW default_transaction_read_only").fetchone()[0])

        watching = threading.Thread(target=watch)
        watching.start()
        with pooler.connect() as application:
            for n in range(WRITES):
                application.execute(f"UPDATE inventory SET stock = stock + 1 WHERE id = {n % 20 + 1}")
                wait_until(lambda n=n: time.monotonic() - started >= n * LOAD_S / WRITES, "the next write is due")
        watching.join()
        assert deployment.sql("SELECT sum(stock) FROM inventory") == [(WRITES,)]
        assert read_only == {"off"}
        assert deployment.stat("failed") == 0
        assert deployment.client.hlen("failures:") == 0
        done = deployment.stat("refreshed") + deployment.stat("unchanged")
        assert done > 1000 * LOAD_S / 2, "the workers were busy meanwhile"
