"""Round trips of a worker for a full batch: how often it waits for the cache or the database."""

import time
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import psutil
from support.waiting import wait_until

from benchmarks.contender import BATCH_SIZE, ours
from benchmarks.held_replies import HeldReplies
from benchmarks.servers import ROOT, Servers
from benchmarks.warmup import DELAY_S


def count_round_trips(servers: Servers, batches: int) -> float:
    """Let full batches wait in the queue, stop the dispatcher, and count while one process refreshes them.

    The broker is left out: the next message is fetched meanwhile.
    """
    servers.clear()
    rows = batches * BATCH_SIZE
    cache, database = Path(urlsplit(servers.valkey.url).path), parse_qs(urlsplit(servers.database_url).query)
    folder, port = database["host"][0], database["port"][0]
    with HeldReplies(cache, Path(folder, f".s.PGSQL.{port}")) as link:
        to_cache, to_database = link.paths
        env = {
            "ROWCACHE_REDIS_URL": servers.valkey.url.replace(str(cache), str(to_cache)),
            "ROWCACHE_DATABASE_URL": servers.database_url.replace(quote(folder), quote(str(to_database.parent))),
        }
        with ours(1, ROOT, **env)(servers) as pids:
            workers = [psutil.Process(pid) for pid in (*pids["worker"], *pids["pool"])]
            for process in workers:
                process.suspend()
            servers.schedule(1, rows, DELAY_S, servers.now())
            wait_until(lambda: not servers.client.zcount("schedule:", "-inf", time.time()), "all rows are claimed")
            psutil.Process(pids["dispatcher"][0]).suspend()
            link.is_on = True
            for process in workers:
                process.resume()
            wait_until(
                lambda: servers.client.zcount("schedule:", "-inf", time.time() + DELAY_S / 2) == 0, "all is done"
            )
            counted, link.is_on = link.round_trips, False
    return counted / batches
