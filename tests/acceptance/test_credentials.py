"""Credentials of Redis that change while a dispatcher, a worker and readers run: none is restarted."""

import contextlib
import sys
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import pytest
import redis
import trustme
from support.cluster import Cluster
from support.tls_proxy import TlsProxy
from support.versions import IS_CELERY_57
from support.waiting import wait_until

from rowcache_tasks import CacheError, RowCache
from rowcache_tasks.config.settings import Table
from rowcache_tasks.schedule import connection
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.row_state import read_row_states
from rowcache_tasks.schedule.rows import Schedule

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not IS_CELERY_57, reason="kombu before 5.7 has no provider of credentials"),
]

SETTINGS = """
rowcache_tables = {"inv": {"table": "inventory", "partitions": %d}}
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


@dataclass
class Place:
    """Servers of the cache, and the broker."""

    url: str  # of the cache, to which an option can be added
    broker_url: str  # empty: that of the cache
    table: Table
    admin: redis.Redis  # of the cache
    servers: list[redis.Redis]  # all that the login is at


@pytest.fixture(params=["a Unix socket", "TLS", "a cluster"])
def place(request, deployment, tmp_path):
    table, valkey = Table("inv", "inventory"), deployment.valkey
    if request.param == "a Unix socket":
        yield Place(f"{valkey.url}&", "", table, deployment.client, [deployment.client])
    elif request.param == "TLS":
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        with TlsProxy(unquote(urlsplit(valkey.url).path), authority.issue_cert("127.0.0.1")) as proxy:
            url = f"rediss://127.0.0.1:{proxy.port}/0?ssl_cert_reqs=required&ssl_ca_certs={tmp_path}/ca.pem&"
            yield Place(url, "", table, deployment.client, [deployment.client])
            assert proxy.handshakes > 5
    else:
        table = Table("inv", "inventory", partitions=8)
        with Cluster(2) as cluster, connect(cluster.url, "test") as admin:
            yield Place(
                f"{cluster.url}?", f"{valkey.broker_url(1)}&", table, admin, [deployment.client, *cluster.clients]
            )


def test_password_that_changes_and_is_known_late_stops_no_process_and_loses_nothing(
    deployment, place, tmp_path, monkeypatch
):
    secret, option = tmp_path / "secret", "credential_provider=rotating:Login"
    deployment.configure(SETTINGS % place.table.partitions)
    deployment.passwords = {}
    (deployment.cwd / "rotating.py").write_text(PROVIDER % secret)
    monkeypatch.syspath_prepend(deployment.cwd)
    monkeypatch.setattr(connection, "providers", {})  # those of this process, by another place
    monkeypatch.delitem(sys.modules, "rotating", raising=False)
    url = place.url + option
    deployment.env |= {
        "ROWCACHE_REDIS_URL": url,
        "CELERY_BROKER_URL": place.broker_url and place.broker_url + option,
    }

    def allow(*passwords, only=False):
        for server in place.servers:
            server.acl_setuser(
                *("rotating", True),
                reset_passwords=only,
                passwords=passwords,
                keys=["*"],
                channels=["*"],
                categories=["+@all"],
            )

    def disconnect():
        return [server.execute_command("CLIENT", "KILL", "USER", "rotating") for server in place.servers]

    allow("+first")
    secret.write_text("first")
    rows = [str(number) for number in range(1, 51)]
    Schedule(place.admin, place.table).put_rows(dict.fromkeys(rows, (0.5, 0)))
    deployment.start_beat()
    deployment.start_worker()
    readers = [
        RowCache("inv", url=url, namespace="", partitions=place.table.partitions, near=near, timeout=30)
        for near in (0, 10)
    ]

    def are_fresh(stock):
        with contextlib.suppress(CacheError):
            return all(
                found and found["stock"] == stock for reader in readers for found in reader.get_many(rows).values()
            )

    wait_until(lambda: are_fresh(0), "the rows are cached")

    allow("+second", only=True)
    assert min(disconnect()) > 2
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

    def delays():
        return {row.delay for row in read_row_states(place.admin, place.table, changed)}

    wait_until(lambda: delays() == {120}, "no change is lost")
    wait_until(lambda: are_fresh(2), "all rows are fresh again")
    assert [child.poll() for child in deployment.children] == [None, None], "no process has ended"
    assert "Traceback" not in deployment.log("beat") + deployment.log("worker")
    for reader in readers:
        reader.close()
