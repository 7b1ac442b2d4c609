"""A malformed message costs that message: no process of the pool, no memory, no second line of the log."""

import bz2
import json
import uuid
import zlib
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from support.waiting import wait_until

from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance

CHANGE = ["inv", "2", 3600]
FORGED = "\n[2026-01-01 00:00:00,000: ERROR/MainProcess] forged"
MEGABYTE = 1024 * 1024


def message(args=CHANGE, *, body=None, headers=None, properties=None, kwargs=None, **fields):
    """Write a message of the task schedule_row as kombu does for Redis, with a new id."""
    number = str(uuid.uuid4())
    content = json.dumps([args, kwargs or {}, {}]).encode() if body is None else body
    told = {"lang": "py", "task": "rowcache_tasks.tasks.schedule_row", "id": number, "retries": 0}
    info = {"exchange": "", "routing_key": "rowcache.schedule"}
    tags = {"delivery_tag": number, "delivery_info": info, "body_encoding": "base64", "delivery_mode": 2}
    whole = {"body": b64encode(content).decode(), "content-type": "application/json", "content-encoding": "utf-8"}
    whole |= {"headers": told | (headers or {}), "properties": tags | (properties or {})}
    return json.dumps(whole | fields)


def nested(depth):
    return f'[["inv", {"[" * depth}{"]" * depth}, 5], {{}}, {{}}]'.encode()


HEADERS = """
    lang task id root_id parent_id group group_index expires eta argsrepr kwargsrepr shadow origin retries meth utc
    replaced_task_nesting ignore_result timelimit stamped_headers stamps headers taskset compression
"""
OF_THE_REQUEST = "callbacks errbacks chain chord args kwargs get update children _children called_directly"
MALFORMED = {
    **{
        f"header {name} is {wrong!r}": message(headers={name: wrong})
        for name in HEADERS.split()
        for wrong in (5.5, [[7]])
    },
    **{f"header {name}": message(headers={name: 5}) for name in OF_THE_REQUEST.split()},
    **{f"time limit {limit}": message(headers={"timelimit": limit}) for limit in ([-1, None], [0.0001, 0], [None, -3])},
    "stamps without stamped_headers": message(headers={"stamps": 5, "stamped_headers": ["x"]}),
    "endless time limit": message(headers={"timelimit": [float("inf"), float("nan")]}),
    "negative retries": message(headers={"retries": -1}),
    "endless retries": message(headers={"retries": 10**40}),
    **{f"property {name}": message(properties={name: [5]}) for name in ("priority", "reply_to", "correlation_id")},
    "endless priority": message(properties={"priority": 10**40}),
    **{f"body nested {depth} deep": message(body=nested(depth)) for depth in (200, 600, 900, 10_000)},
    **{
        f"header nested {depth} deep": message(headers={"x": json.loads("[" * depth + "]" * depth)}) for depth in (200,)
    },
    "header nested 100,000 deep": message().replace('"retries": 0', f'"x": {"[" * 100_000}'),
    "forged id": message(headers={"id": f"x{FORGED}"}),
    "forged shadow": message(headers={"shadow": f"x{FORGED}"}),
    "forged task": message(headers={"task": f"x{FORGED}"}),
    "forged arguments": message(headers={"argsrepr": f"x{FORGED}"}),
    "forged name of an argument": message(kwargs={f"x{FORGED}": 1}),
    "forged content type": message(**{"content-type": f"x{FORGED}"}),
    "forged encoding": message(**{"content-encoding": f"x{FORGED}"}),
    "forged encoding of the body": message(properties={"body_encoding": f"x{FORGED}"}),
    "forged table": message([f"x{FORGED}", "1", 5]),
    "forged row id": message(["inv", [f"x{FORGED}"], 5]),
    "no JSON": "[",
    "no message": "{}",
}


def bombs():
    """Return messages of some hundred bytes that inflate to 200 MB."""
    kinds = {"zlib": zlib.compress, "bzip2": bz2.compress}
    zeros = bytes(200 * MEGABYTE)
    return {name: message(body=kind(zeros), headers={"compression": name}) for name, kind in kinds.items()}


def resident_mb(child):
    """Return the memory of a worker's main process and of its pool, at its highest."""
    pids = [child.pid, *map(int, Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split())]
    status = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(text.partition("VmHWM:")[2].split()[0]) for text in status) / 1024


@pytest.fixture
def broker(deployment):
    client = connect(deployment.valkey.url_for(1), "test")
    yield client
    client.close()


@pytest.fixture
def worker(deployment):
    """A worker of two processes, a dispatcher, and a row that is refreshed four times a second."""
    worker = deployment.start_worker()
    deployment.start_beat()
    deployment.schedule.put_rows({"1": (0.25, 0)})
    wait_until(lambda: deployment.client.get("inv:1"), "the row is cached")
    return worker


@contextmanager
def watched(deployment):
    """Yield a list, which has the ages of the row in seconds afterwards, looked at a hundred times a second."""
    ages, stop = [], Event()

    def watch():
        while not stop.wait(0.01):
            seconds, micros = deployment.client.time()
            ages.append(seconds + micros / 1e6 - deployment.client.zscore("refreshed:", "1"))

    thread = Thread(target=watch)
    thread.start()
    try:
        yield ages
    finally:
        stop.set()
        thread.join()


def send_one_by_one(broker, messages):
    """Send each message when the worker has swallowed the one before."""
    for name, wrong in messages.items():
        broker.lpush("rowcache.schedule", wrong)
        wait_until(lambda: not broker.llen("rowcache.schedule") + broker.hlen("unacked"), f"it swallowed: {name}")


def test_each_kind_one_by_one_costs_no_process_no_memory_and_one_line(deployment, broker, worker):
    malformed = MALFORMED | bombs()
    before = resident_mb(worker)
    with watched(deployment) as ages:
        send_one_by_one(broker, malformed)
    broker.lpush("rowcache.schedule", message())
    wait_until(lambda: deployment.client.zscore("delay:", "2"), "a good message is taken")
    wait_until(lambda: deployment.client.get("inv:2"), "and its row is cached")
    log = deployment.log("worker").splitlines()
    assert [line for line in log if line.startswith("[2026-01-01")] == [], "no line is forged"
    assert not any("Unrecoverable" in line or "Traceback" in line or "connection lost" in line.lower() for line in log)
    assert len([line for line in log if "message_refused" in line or "raised expected" in line]) == len(malformed)
    assert sorted(ages)[len(ages) * 99 // 100] < 30, "1 s on a machine that has time"
    assert resident_mb(worker) - before < 50
    assert "SIGKILL" not in deployment.log("worker")


def test_message_of_20_mb_is_refused_before_it_is_decoded(deployment, broker, worker):
    many = {str(number): 3600 for number in range(10_000, 1_000_000)}
    big = message(["inv", many]).replace("schedule_row", "schedule_rows")
    before = resident_mb(worker)
    broker.lpush("rowcache.schedule", big)
    wait_until(lambda: "bytes: allowed are 10,000,000" in deployment.log("worker"), "it is refused")
    broker.lpush("rowcache.schedule", message())
    wait_until(lambda: deployment.client.get("inv:2"), "a good message is taken")
    assert resident_mb(worker) - before < 10 * len(big) / MEGABYTE
    assert deployment.client.zcard("delay:") == 2


def test_unreadable_message_again_and_again_delays_no_row(deployment, broker, worker):
    with watched(deployment) as ages:
        for _ in range(100):
            send_one_by_one(broker, {"no JSON": "{", "no fields": "{}", "no object": "5"})
    assert sorted(ages)[len(ages) * 99 // 100] < 30, "1 s on a machine that has time"
    wait_until(lambda: deployment.log("worker").count("message_refused: not a message: ") == 300, "each is logged")
    assert "lost" not in deployment.log("worker")


def test_message_of_protocol_1_runs(deployment, broker, worker):
    task = {
        "task": "rowcache_tasks.tasks.schedule_row",
        "id": "1",
        "args": ["inv", "3", 60],
        "kwargs": {},
        "retries": 0,
    }
    old = json.loads(message(body=json.dumps(task).encode()))
    broker.lpush("rowcache.schedule", json.dumps(old | {"headers": {}}))
    wait_until(lambda: deployment.client.get("inv:3"), "its row is cached")
