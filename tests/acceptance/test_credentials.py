"""Credentials of Redis that change while a dispatcher, a worker and readers run: none is restarted."""

import contextlib

import pytest
from support.versions import IS_CELERY_57
from support.waiting import wait_until

from rowcache_tasks import CacheError, RowCache

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not IS_CELERY_57, reason="kombu before 5.7 has no provider of credentials"),
]

SETTINGS = """
rowcache_tables = {"inv": {"table": "inventory"}}
"""
PROVIDER = """
from pathlib import Path
from redis import CredentialProvider

class Login(CredentialProvider):
    def get_credentials(self):
        return "rotating", Path("%s").read_text()
"""
CHANGES = """
from rowcache_tasks.tasks import schedule_row
for number in range(101, 121):
    schedule_row.delay("inv", number, %d)
"""


def test_password_that_changes_and_is_known_late_stops_no_process_and_loses_nothing(deployment, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    deployment.configure(SETTINGS)
    deployment.passwords = {}
    (deployment.cwd / "rotating.py").write_text(PROVIDER % secret)
    monkeypatch.syspath_prepend(deployment.cwd)
    url = f"{deployment.valkey.url}&credential_provider=rotating:Login"
    deployment.env |= {"ROWCACHE_REDIS_URL": url, "CELERY_BROKER_URL": ""}

    def allow(*passwords, only=False):
        deployment.client.acl_setuser(
            *("rotating", True),
            reset_passwords=only,
            passwords=passwords,
            keys=["*"],
            channels=["*"],
            categories=["+@all"],
        )

    def disconnect():
        return deployment.client.execute_command("CLIENT", "KILL", "USER", "rotating")

    allow("+first")
    secret.write_text("first")
    rows = [str(number) for number in range(1, 51)]
    deployment.schedule.put_rows(dict.fromkeys(rows, (0.5, 0)))
    deployment.start_beat()
    deployment.start_worker()
    readers = [RowCache("inv", url=url, namespace="", near=near, timeout=30) for near in (0, 10)]

    def are_fresh(stock):
        with contextlib.suppress(CacheError):
            return all(
                found and found["stock"] == stock for reader in readers for found in reader.get_many(rows).values()
            )

    wait_until(lambda: are_fresh(0), "the rows are cached")

    allow("+second", only=True)
    assert disconnect() > 5
    for name in ("beat", "worker"):
        wait_until(lambda name=name: "invalid username-password pair" in deployment.log(name), f"{name} is refused")
    secret.write_text("second")
    deployment.sql("UPDATE inventory SET stock = 1")
    wait_until(lambda: are_fresh(1), "all rows are fresh")
    deployment.run(CHANGES % 60)

    allow("+third")
    secret.write_text("third")
    allow("-second")
    disconnect()
    assert are_fresh(1), "readers connect anew and see no error"
    deployment.sql("UPDATE inventory SET stock = 2")
    deployment.run(CHANGES % 120)
    changed = [str(number) for number in range(101, 121)]
    wait_until(lambda: set(deployment.client.zmscore("delay:", changed)) == {120}, "no change is lost")
    wait_until(lambda: are_fresh(2), "all rows are fresh again")
    assert [child.poll() for child in deployment.children] == [None, None], "no process has ended"
    assert "Traceback" not in deployment.log("beat") + deployment.log("worker")
    for reader in readers:
        reader.close()
