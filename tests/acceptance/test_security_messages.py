"""Whoever can write to the broker cannot run code in a worker, stop it, or keep it from its work."""

import base64
import json
import pickle
import uuid
from itertools import cycle
from pathlib import Path

import pytest
from kombu import Connection, Producer
from support.versions import IS_CELERY_57
from support.waiting import wait_until

from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance

QUEUES = ("rowcache.refresh", "rowcache.schedule", "celery")
FORGED = "\n[2026-01-01 00:00:00,000: CRITICAL/MainProcess] forged"
NUMBER = str(uuid.uuid4())
BATCH = [["inv", ["1"]], {}, {}]


def message(content=b"", *, content_type="application/json", encoding="utf-8", headers=None, properties=None, **fields):
    """Write a message as kombu does for Redis; what is given replaces what belongs there."""
    task = {"task": "rowcache_tasks.tasks.refresh_row", "id": NUMBER, "lang": "py", "retries": 0}
    told = {"exchange": "", "routing_key": "rowcache.refresh"}
    tag = {"delivery_tag": NUMBER, "delivery_info": told, "body_encoding": "base64", "delivery_mode": 2}
    whole = {
        "body": base64.b64encode(content).decode(),
        "content-type": content_type,
        "content-encoding": encoding,
        "headers": task | (headers or {}),
        "properties": tag | (properties or {}),
    }
    return json.dumps(whole | fields).encode()


def batch(*content, **wrong):
    return message(json.dumps(content or BATCH).encode(), **wrong)


NO_ENTRIES = [b"not json", b"\xff", b"5", b"[1]", b"{}", b"[" * 100_000]
NO_MESSAGES = [
    b"\xff\xfe\x00",
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"5",
    b"{}",
    batch()[:100],
    b"[" * 100_000,
    message(headers=None, properties=None)[:-1],
    json.dumps({"headers": {}, "properties": {}}).encode(),
    batch(headers={}, properties={"delivery_info": 5}),
    batch(properties={"delivery_tag": {}}),
    batch(properties={"body_encoding": "nosuch"}),
    batch(body=5),
    json.dumps({"body": "x", "headers": None, "properties": None}).encode(),
]
NO_TASKS = [
    batch(body="!!!"),
    message(b"[[1"),
    message(b"\xff\xff"),
    message(b"[" * 100_000),
    *[message(body) for body in (b"null", b"7", b'{"a": 1}', b'["text", {}, {}]', b"[[], [1], {}]", b'[[], {}, "x"]')],
    *[batch(headers={"task": name}) for name in ("os.system", 5, None, ["x"], {})],
    *[batch(headers={name: "x"}) for name in ("timelimit", "expires", "eta", "retries", "compression")],
    *[batch(headers={name: []}) for name in ("timelimit", "expires", "eta", "retries", "id", "root_id", "group")],
    *[batch(encoding=wrong) for wrong in ("nosuch", 5, None)],
    *[batch(content_type=wrong) for wrong in ("nosuch/type", 5, None, [])],
    batch(["inv", 5], {}, {}),
    batch(["inv", [[1], None]], {"claim": {"claimed_at": [], "lease_until": {}, "epoch": [0], "late_ms": "x"}}, {}),
    batch(["inv", ["1"]], {"claim": {"claimed_at": 5}}, {}),
    batch(["inv", ["1"]], {"claim": "x"}, {}),
    batch(["inv", ["1"]], {}, {"callbacks": [5], "errbacks": "x", "chain": 7, "chord": []}),
    message(
        json.dumps({"task": "os.system", "id": "x", "args": ["true"], "kwargs": {}}).encode(), headers={"task": None}
    ),
    batch(["inv", ["x" * 20_000_000]], {}, {}),
]


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return (Path.touch, (self.canary,))


@pytest.fixture
def broker(deployment):
    client = connect(deployment.valkey.url_for(1), "test")
    yield client
    client.close()


@pytest.fixture
def worker(deployment):
    worker = deployment.start_worker()
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
    return worker


def wait_until_listening(broker, processes):
    """Wait until that many processes hear the mailbox of all: a worker subscribes after its line `ready.`."""
    ping = message(json.dumps({"method": "ping", "arguments": {}}).encode())
    wait_until(lambda: broker.publish("/1.celery.pidbox", ping) >= processes, "all listen")


def wait_until_swallowed(broker):
    """Wait until no message is in a queue, nor with a worker."""
    wait_until(lambda: not sum(map(broker.llen, QUEUES)) + broker.hlen("unacked"), "all are swallowed")


def do_a_job(deployment, broker, row_id):
    """See the worker do what it is for."""
    deployment.run(f"from rowcache_tasks.tasks import schedule_row; schedule_row.delay('inv', '{row_id}', 3600)")
    wait_until(lambda: deployment.client.zscore("delay:", row_id), "the row is scheduled")
    deployment.run(f"from rowcache_tasks.tasks import refresh_row; refresh_row.delay('inv', ['{row_id}'])")
    wait_until(lambda: deployment.client.get(f"inv:{row_id}"), "the row is cached")
    wait_until_swallowed(broker)


def test_what_is_no_message_is_refused_and_the_worker_goes_on(deployment, broker, worker):
    for wrong, queue in zip(NO_MESSAGES, cycle(QUEUES), strict=False):
        broker.lpush(queue, wrong)
        wait_until_swallowed(broker)
    do_a_job(deployment, broker, 1)
    assert "message_refused: not a message: " in deployment.log("worker")
    assert worker.is_running
    assert "Unrecoverable" not in deployment.log("worker")


def test_message_that_is_no_task_is_refused_and_does_not_come_back(deployment, broker, worker):
    for queue in QUEUES:
        for wrong in NO_TASKS:
            number = str(uuid.uuid4()).encode()
            broker.lpush(queue, wrong.replace(NUMBER.encode(), number))
        wait_until_swallowed(broker)
    do_a_job(deployment, broker, 1)
    assert worker.is_running
    assert "Unrecoverable" not in deployment.log("worker")
    assert "Connection to broker lost" not in deployment.log("worker"), "nothing else was held up"


def test_pickle_and_yaml_are_refused_and_run_no_code(deployment, broker, worker):
    canary = deployment.folder / "canary"
    code = f'!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ["{canary}"]]'.encode()
    pickled = pickle.dumps(Evil(canary))
    for queue in QUEUES:
        with Connection(deployment.valkey.broker_url(1)) as connection, connection.channel() as channel:
            Producer(channel).publish(
                Evil(canary), serializer="pickle", routing_key=queue, headers={"task": "celery.ping", "id": "1"}
            )
        broker.lpush(queue, message(code, content_type="application/x-yaml"))
        for encoding in ("binary", "utf-8"):
            broker.lpush(queue, message(pickled, content_type="application/x-python-serialize", encoding=encoding))
            broker.lpush(queue, message(pickled, content_type="application/json", encoding=encoding))
    do_a_job(deployment, broker, 1)
    log = deployment.log("worker")
    assert log.count("Refusing to deserialize untrusted content of type pickle") >= 3 * len(QUEUES)
    assert log.count("Refusing to deserialize untrusted content of type yaml") == len(QUEUES)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Evil(canary)))
    assert canary.exists(), "which would have been there"
    assert worker.is_running


def test_what_is_no_message_in_the_mailbox_of_all_processes_stops_none_of_them(deployment, broker, worker):
    beat = deployment.start_beat()
    wait_until(lambda: "dispatching" in deployment.log("beat"), "the dispatcher is ready")
    wait_until_listening(broker, 1 + IS_CELERY_57)
    for wrong in (*NO_MESSAGES, *NO_TASKS[:-1], batch({"method": "nosuch"}), message(b'{"method": 5, "arguments": 7}')):
        broker.publish("/1.celery.pidbox", wrong)
        broker.publish("/1.celeryev/worker.heartbeat", wrong)
    deployment.schedule.put_rows({"1": (3600, 0)})
    wait_until(lambda: deployment.client.get("inv:1"), "the row is cached")
    assert worker.is_running
    assert beat.is_running


def test_commands_in_the_mailbox_of_all_processes_forge_no_line(deployment, broker, worker):
    wait_until_listening(broker, 1)
    name = "rowcache_tasks.tasks.refresh_row"
    for command in (
        {"method": "rate_limit", "arguments": {"task_name": name, "rate_limit": f"1/s{FORGED}"}},
        {"method": "nosuch", "arguments": {f"x{FORGED}": 1}},
        {"method": f"nosuch{FORGED}", "arguments": {}},
        {"method": "revoke", "arguments": {"task_id": [f"first{FORGED}", "second\x1b[2J"]}},
    ):
        broker.publish("/1.celery.pidbox", message(json.dumps(command).encode()))
    wait_until(lambda: "Tasks flagged as revoked: " in deployment.log("worker"), "the commands ran")
    assert not [line for line in deployment.log("worker").splitlines() if line.startswith("[2026-01-01")]
    assert "\x1b" not in deployment.log("worker")


def test_what_is_no_fetched_message_ends_no_worker(deployment, broker):
    for number, wrong in enumerate(NO_ENTRIES):
        broker.hset("unacked", f"evil{number}", wrong)
        broker.zadd("unacked_index", {f"evil{number}": 1})
    worker = deployment.start_worker()
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
    do_a_job(deployment, broker, 1)
    assert deployment.log("worker").count("message_refused: not a fetched message: ") == len(NO_ENTRIES)
    assert worker.is_running
