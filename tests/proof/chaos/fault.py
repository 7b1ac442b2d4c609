"""Faults: functions that break a part of the deployment and return when the fault is over."""

import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
from proof.chaos.deployment import DISPATCHERS, WORKERS
from support.waiting import wait_until

from rowcache_tasks.schedule.connection import connect

READING_S = 0.02
"""Seconds after which an unanswered query belongs to a batch with slow rows."""


@dataclass(frozen=True)
class Fault:
    """`inject(deployment, random)` returns a short description when the fault is over."""

    name: str
    inject: Any


def leave_alone(_deployment, _random):
    return "nothing is broken, for comparison"


def kill_dispatcher(deployment, random):
    name = random.choice(DISPATCHERS)
    return f"killed {name}, pid {deployment.supervisor.kill(name, signal.SIGKILL)}"


def kill_worker(deployment, random):
    name = random.choice(WORKERS)
    readers = wait_until(lambda: reading_children(deployment, name), f"{name} reads a batch")
    return f"killed {name}, pid {deployment.supervisor.kill(name, signal.SIGKILL)}, {len(readers)} batches being read"


def kill_worker_child(deployment, random):
    name = random.choice(WORKERS)
    reader = wait_until(lambda: reading_children(deployment, name), f"a child of {name} reads a batch")[0]
    reader.kill()
    return f"killed pid {reader.pid}, a child of {name}, while it read a batch"


def stop_worker(deployment, random):
    name = random.choice(WORKERS)
    readers = wait_until(lambda: reading_children(deployment, name), f"{name} reads a batch")
    seconds = deployment.lease_s + random.uniform(0.5, 1.5)
    deployment.supervisor.signal_all(name, signal.SIGSTOP)
    time.sleep(seconds)
    deployment.supervisor.signal_all(name, signal.SIGCONT)
    return f"stopped {name} for {seconds:.1f} s, {len(readers)} batches being read, and let it go on"


def restart_server(server_of, signal_number, deployment, random):
    """Stop a server by a signal, start it after a pause, and return when it answers."""
    server, pause_s = server_of(deployment), random.uniform(0.3, 1.5)
    process = psutil.Process(server.pid)
    if signal_number == signal.SIGKILL:
        server.kill()
    else:
        process.send_signal(signal_number)
        wait_until(lambda: has_ended(process), f"{server.name} has stopped")
    time.sleep(pause_s)
    started = time.monotonic()
    server.start()
    return f"away for {pause_s:.1f} s and {time.monotonic() - started:.1f} s to start"


def flush_broker(deployment, _random):
    client = connect(deployment.broker.url, "chaos")
    lost = client.llen("rowcache.refresh")
    client.flushdb()
    client.close()
    return f"FLUSHDB with {lost} batches in the queue"


def hang_link(name, deployment, random):
    seconds = random.uniform(0.5, 1.0) * min(4.0, deployment.lease_s)
    deployment.links[name].hang()
    time.sleep(seconds)
    deployment.links[name].release()
    return f"no byte passed for {seconds:.1f} s; connections of that time stay dead"


def cut_link(name, deployment, _random):
    deployment.links[name].cut()
    time.sleep(1.0)
    return f"cut {deployment.links[name].uncut()} replies"


def reading_children(deployment, worker):
    """Return the pool processes of a worker that wait for the database in the middle of a batch."""
    ports = deployment.links["workers-database"].waiting_ports(READING_S)
    children = psutil.Process(deployment.supervisor.pid(worker)).children()
    return [child for child in children if ports & ports_of(child)]


def ports_of(process):
    try:
        return {connection.laddr.port for connection in process.net_connections("tcp4")}
    except psutil.NoSuchProcess:
        return set()


def has_ended(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def server_faults():
    # SIGINT is PostgreSQL's shutdown that does not wait for clients.
    for name, attribute, stop in (
        ("cache", "cache", signal.SIGTERM),
        ("broker", "broker", signal.SIGTERM),
        ("database", "postgres", signal.SIGINT),
    ):

        def server_of(deployment, attribute=attribute):
            return getattr(deployment, attribute)

        yield Fault(f"{name} stopped and started", partial(restart_server, server_of, stop))
        yield Fault(f"{name} killed and started", partial(restart_server, server_of, signal.SIGKILL))


LINKS = ("workers-cache", "workers-broker", "workers-database", "dispatchers-cache", "dispatchers-broker")

FAULTS = (
    Fault("none", leave_alone),
    Fault("dispatcher killed", kill_dispatcher),
    Fault("worker killed", kill_worker),
    Fault("worker child killed in a batch", kill_worker_child),
    Fault("worker stopped for longer than its lease", stop_worker),
    Fault("broker flushed", flush_broker),
    *server_faults(),
    *(Fault(f"{name} hangs", partial(hang_link, name)) for name in LINKS),
    *(Fault(f"{name} replies cut in half", partial(cut_link, name)) for name in LINKS),
)
