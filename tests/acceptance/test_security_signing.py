"""Signed messages: only who holds a key that is known can have a worker do something."""

import base64
import datetime as dt
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.fork_server import run_forked
from support.project import CELERY, ROOT
from support.versions import IS_CELERY_57
from support.waiting import wait_until

from rowcache_tasks.schedule.connection import connect

pytestmark = pytest.mark.acceptance

SETTINGS = """
import os
from celeryconfig import *

task_serializer = "auth"
accept_content = ["auth"]
security_key = os.environ["SIGN_AS"] + ".key"
security_certificate = os.environ["SIGN_AS"] + ".pem"
security_cert_store = os.environ["SIGN_AS"].rpartition("/")[0] + "/known"
"""
SCHEDULE = "from rowcache_tasks.tasks import schedule_row; schedule_row.delay('inv', '{}', 3600)"
QUEUE = "rowcache.schedule"


def write_key(folder, name):
    """Make a key and a certificate for it, signed by itself."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / f"{name}.key").write_bytes(private)
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A key for each role, known to all, and one of a stranger."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "known").mkdir()
    for name in ("application", "dispatcher", "worker", "operator"):
        write_key(folder, name)
        (folder / "known" / f"{name}.pem").write_bytes((folder / f"{name}.pem").read_bytes())
    write_key(folder, "stranger")
    return folder


@pytest.fixture
def sign_as(deployment, keys):
    """Return the variables of a process that signs with a key."""
    (deployment.folder / "signed.py").write_text(SETTINGS)

    def sign_as(name):
        path = f"{deployment.folder}:{ROOT}"
        return {"CELERY_CONFIG_MODULE": "signed", "PYTHONPATH": path, "SIGN_AS": str(keys / name)}

    return sign_as


@pytest.fixture
def worker(deployment, sign_as):
    worker = deployment.start_worker(**sign_as("worker"))
    wait_until(lambda: "ready." in deployment.log("worker"), "the worker is ready")
    return worker


@pytest.fixture
def broker(deployment):
    client = connect(deployment.valkey.url_for(1), "test")
    yield client
    client.close()


def test_signed_messages_do_the_main_job_and_answer_inspect_and_flower(deployment, sign_as, worker):
    fetch = deployment.start_flower(**sign_as("operator"))
    deployment.start_beat(**sign_as("dispatcher"))
    deployment.run(SCHEDULE.format(1), **sign_as("application"))
    wait_until(lambda: deployment.client.get("inv:1"), "the row is cached")
    done = run_forked(
        [*CELERY, "inspect", "ping", "--timeout=10", "--json"],
        env=deployment.env_of("operator", **sign_as("operator")),
    )
    assert done.stdout.count("pong") == 1 + IS_CELERY_57, done.stderr

    def is_shown():
        deployment.run(SCHEDULE.format(1), **sign_as("application"))  # Flower may have missed the events of the first
        return "schedule_row" in fetch("/api/tasks")

    wait_until(is_shown, "Flower shows the task", pause_s=0.2)
    wait_until(lambda: '"stats"' in fetch("/api/workers?refresh=1"), "Flower knows the worker", pause_s=0.5)
    assert worker.is_running


def test_message_that_is_not_signed_or_by_an_unknown_key_or_altered_is_refused(deployment, sign_as, worker, broker):
    deployment.run(SCHEDULE.format(1))
    wait_until(lambda: "untrusted content of type json" in deployment.log("worker"), "the worker refused it")
    deployment.run(SCHEDULE.format(2), **sign_as("stranger"))
    wait_until(lambda: "Unknown certificate" in deployment.log("worker"), "the worker refused it")

    worker.kill()
    deployment.run(SCHEDULE.format(3), **sign_as("application"))
    message = json.loads(broker.lpop(QUEUE))
    assert message["content-type"] == "application/data"
    signed = base64.b64decode(base64.b64decode(message["body"]))
    altered = signed.replace(b'"3"', b'"4"')
    assert altered != signed
    message["body"] = base64.b64encode(base64.b64encode(altered)).decode()
    broker.lpush(QUEUE, json.dumps(message))
    deployment.start_worker("second", **sign_as("worker"))
    wait_until(lambda: "DecodeError: Unable to deserialize" in deployment.log("second"), "the worker refused it")

    deployment.run(SCHEDULE.format(5), **sign_as("application"))
    wait_until(lambda: deployment.client.zscore("delay:", "5"), "the good one is applied")
    assert deployment.client.zrange("delay:", 0, -1) == [b"5"]


def test_control_command_that_is_not_signed_is_refused(deployment, sign_as, worker, broker):
    code = "from rowcache_tasks.celery import app; app.control.shutdown()"
    deployment.run(code, role="operator")
    deployment.run(SCHEDULE.format(1), **sign_as("application"))
    wait_until(lambda: deployment.client.zscore("delay:", "1"), "the worker goes on")
    assert worker.is_running
    deployment.run(code, role="operator", **sign_as("operator"))
    assert worker.wait(90) == 0, "a signed one is obeyed"


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_key_that_is_not_there_stops_a_process_with_one_line(deployment, sign_as, program):
    done = run_forked(
        [*CELERY, "--quiet", program, *(["--pidfile="] if program == "beat" else [])],
        env=deployment.env | sign_as("nobody"),
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("rowcache_tasks: ")
    assert "nobody.key" in line
