"""A cluster under load: slots move both ways, each primary is killed in turn, one is stopped for 20 s.

Rows of the other nodes are refreshed as before: their lateness is that of a time without a fault.

Rows are due only when they are touched, at a known time. A function of the view logs each read of a row with its time,
so that the log of PostgreSQL shows the lateness of each row, and rows that were read twice for one touch.
"""

import os
import re
import signal
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial

import pytest
import redis
from support.cluster import Cluster
from support.waiting import wait_until

from rowcache_tasks.config.settings import Table
from rowcache_tasks.dispatch.backpressure import LEAST_LEASE_S
from rowcache_tasks.keys import slot_of
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.rows import Schedule

pytestmark = [pytest.mark.acceptance, pytest.mark.long, pytest.mark.minutes]

LEASE_S, STOP_S, SLACK_S = 15, 20, 5
QUIET_S = 5
AWAY_S = 4
"""Each process waits for a node that hangs once, for a second: the dispatcher, the worker, its children."""
TABLE = Table("inv", "watched", partitions=32)
ROWS = [str(number) for number in range(1, 1001)]
SETTINGS = f"""
rowcache_tables = {{"inv": {{"table": "watched", "key": "id", "partitions": 32}}}}
rowcache_lease = {LEASE_S}
"""
VIEW = """
CREATE FUNCTION note_read(id bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN RAISE LOG 'read % at %', id, extract(epoch FROM clock_timestamp()); RETURN id; END $$;
CREATE VIEW watched AS SELECT id, name, stock, note_read(id) AS noted FROM inventory;
GRANT SELECT ON watched TO PUBLIC;
"""
REFUSED = re.compile(rb"([\d.]+) superseded [a-z-]+ (\d+)")
READ = re.compile(r"read (\d+) at ([\d.]+)")


@dataclass
class Load:
    """Touches a third of the rows of each partition, again and again, and notes when."""

    client: redis.Redis
    touched: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    maybe: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Touches without a reply: the node is away, or the slot is being moved."""
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self):
        number = 0
        while not self.is_over.wait(0.5):
            number += 1
            for part, some in TABLE.divide(ROWS):
                chosen = some[number % 3 :: 3]
                now, noted = time.time(), self.touched
                try:
                    Schedule(self.client, part).touch_rows(chosen)
                except redis.RedisError:
                    noted = self.maybe
                for row_id in chosen:
                    noted[row_id].append(now)


@pytest.fixture
def cluster():
    with Cluster(3, replicas=1) as nodes:
        yield nodes


def primaries(cluster):
    """Return the number of each node that serves slots, as most nodes see it."""
    return sorted({owner for part in TABLE.parts if (owner := cluster.owner(part.keys.schedule)) is not None})


def is_whole(cluster):
    """Whether all nodes run, and each primary has a replica."""
    try:
        roles = [client.info("replication") for client in cluster.clients]
    except redis.RedisError:
        return False
    replicas = [each for each in roles if each["role"] == "slave" and each["master_link_status"] == "up"]
    return len(replicas) == 3 and all(map(cluster.is_ready, cluster.clients))


def nothing(cluster, load):
    del cluster, load
    time.sleep(QUIET_S)  # what is measured


def move_slots(cluster, load):
    """Move four slots in the legacy way, key by key, and four at once where the server can."""
    del load
    for part in TABLE.parts[:4]:
        source = cluster.owner(part.keys.schedule)
        target = next(number for number in primaries(cluster) if number != source)
        slot = slot_of(part.tag)
        cluster.begin_move(slot, source, target)
        while cluster.move_keys(slot, source, target, 5):
            time.sleep(0.01)  # the pace of the move, not a wait
        cluster.end_move(slot, target)
    for part in TABLE.parts[4:8]:
        source = cluster.owner(part.keys.schedule)
        target = next(number for number in primaries(cluster) if number != source)
        slot = slot_of(part.tag)
        command = ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", cluster.node_id(target))
        try:
            cluster.clients[source].execute_command(*command)
        except redis.ResponseError as error:
            if "unknown" in str(error).lower():
                return
            raise
        wait_until(lambda: cluster.owner(part.keys.schedule) == target, "the slot has moved")  # noqa: B023


def kill(number):
    def fault(cluster, load):
        del load
        lost = primaries(cluster)[number]
        cluster.servers[lost].kill()
        wait_until(lambda: lost not in primaries(cluster), "a replica takes over", 240)
        cluster.servers[lost].start()
        wait_until(lambda: is_whole(cluster), "the killed node is a replica", 240)

    return fault


def stop(cluster, load):
    del load
    lost = primaries(cluster)[0]
    os.kill(cluster.servers[lost].pid, signal.SIGSTOP)
    try:
        time.sleep(STOP_S)  # the fault itself
    finally:
        os.kill(cluster.servers[lost].pid, signal.SIGCONT)
    wait_until(lambda: is_whole(cluster), "the stopped node is a replica", 240)


FAULTS = {
    "none": nothing,
    "slots move": move_slots,
    **{f"kill {number + 1}": kill(number) for number in range(3)},
    "stop": stop,
}


def test_no_row_is_lost_or_read_twice_while_nodes_die_and_slots_move(deployment, cluster, postgres):
    deployment.sql(VIEW)
    deployment.configure(SETTINGS)
    deployment.env["ROWCACHE_REDIS_URL"] = cluster.url
    with connect(cluster.url, "test") as client:
        Schedule(client, TABLE).put_rows(dict.fromkeys(ROWS, (3600.0, 0.0)))
        deployment.start_beat()
        deployment.start_worker()
        load = Load(client)
        thread = threading.Thread(target=load.run)
        wait_until(lambda: not due_rows(client), "all rows are cached")
        thread.start()
        phases, outcomes = [], set()
        try:
            wait_until(lambda: len(load.touched["1"]) > 3, "the load runs")
            for name, fault in FAULTS.items():
                was = {part: cluster.owner(part.keys.schedule) for part in TABLE.parts}
                began = time.time()
                fault(cluster, load)
                changed = {part for part in TABLE.parts if cluster.owner(part.keys.schedule) != was[part]}
                phases.append((name, began, time.time(), changed))
                wait_until(partial(is_touched, load, time.time() + 1), "all rows are touched again")
                outcomes |= outcomes_of(client)  # which are bounded
        finally:
            load.is_over.set()
            thread.join()
        ended = time.time()
        wait_until(lambda: not due_rows(client), "all rows are refreshed")
        idle_s = time.time() - ended
        outcomes |= outcomes_of(client)
        counts = [(client.zcard(part.keys.schedule), client.zcard(part.keys.delay)) for part in TABLE.parts]
    reads = reads_in(postgres.log.read_text(errors="replace"))
    refused = defaultdict(list)
    for at, row_id in REFUSED.findall(b"\n".join(outcomes)):
        refused[row_id.decode()].append(float(at))
    twice = [f"row {row_id}: {found}" for row_id in ROWS if (found := read_twice(row_id, load, reads, refused))]
    late = {}
    idle = {name: idle_after(until, changed, reads) for name, _, until, changed in phases}
    for name, began, until, changed in phases:
        lateness = sorted(lateness_of(began, until, changed, load, reads))
        late[name] = lateness[len(lateness) // 2], lateness[-1]
        shown = "others late {:.2f} s (p50), {:.2f} s (most)".format(*late[name])
        print(f"{name}: {until - began:.1f} s, {len(changed)} parts moved, {shown}, idle {idle[name]:.1f} s")
    print(f"all fresh {idle_s:.1f} s after the load; read twice: {twice}")
    assert counts == [(len(some), len(some)) for _, some in sorted(TABLE.divide(ROWS), key=place_of)]
    assert idle_s < LEASE_S + SLACK_S
    assert max(idle.values()) < LEASE_S + SLACK_S
    assert twice == []
    usual, most = late["none"]
    assert {name: each for name, each in late.items() if each[0] > 2 * usual + 1 or each[1] > 2 * most + AWAY_S} == {}


def place_of(divided):
    return TABLE.parts.index(divided[0])


def outcomes_of(client):
    return {line for part in TABLE.parts for line in client.lrange(part.keys.outcomes, 0, -1)}


def due_rows(client):
    """Count the rows that are due or leased; a node that is away counts as one."""
    try:
        return sum(client.zcount(part.keys.schedule, "-inf", time.time() + 600) for part in TABLE.parts)
    except redis.RedisError:
        return 1


def is_touched(load, since):
    return all(load.touched[row_id] and load.touched[row_id][-1] > since for row_id in ROWS)


def reads_in(log):
    """Return the times at which each row was read."""
    found = defaultdict(list)
    for row_id, at in READ.findall(log):
        found[row_id].append(float(at))
    return found


def read_twice(row_id, load, reads, refused):
    """Return the reads of a row for which no touch is left, within a lease of the read before it.

    A refused commit makes the row due once more: a machine that is busy has read it over a second before, or the commit
    of another read was accepted since the claim, so that it may be older.
    """
    touches, found, before = sorted(load.touched[row_id] + load.maybe[row_id] + refused[row_id]), [], 0.0
    touches.insert(0, 0.0)  # when it was scheduled
    for at in reads[row_id]:
        if touches and touches[0] <= at:
            touches.pop(0)
        elif at - before < LEAST_LEASE_S / 2:  # the time from a claim to its read is not known
            found.append((round(before, 2), round(at, 2)))
        while touches and touches[0] < at - LEASE_S:  # answered by an earlier read
            touches.pop(0)
        before = at
    return found


def lateness_of(began, until, changed, load, reads):
    """Yield the seconds from each touch, in a phase and of rows whose node stays, to the next read of the row."""
    for part, some in TABLE.divide(ROWS):
        for row_id in some if part not in changed else ():
            for touch in load.touched[row_id]:
                if began <= touch <= until:
                    yield min((at for at in reads[row_id] if at >= touch), default=touch + 999) - touch


def idle_after(until, changed, reads):
    """Return the seconds after a phase until the last of the parts that moved was read."""
    firsts = [
        min((at for row_id in some for at in reads[row_id] if at >= until), default=until + 999)
        for part, some in TABLE.divide(ROWS)
        if part in changed
    ]
    return max(firsts, default=until) - until
