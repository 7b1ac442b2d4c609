"""Sentinels that hang, the connections that they see, and a login that a provider of credentials returns."""

import re
import time
from urllib.parse import unquote, urlsplit

import pytest
import redis
import trustme
from support import login
from support.examined import examine
from support.listener import Listener
from support.reader_kind import READER_KINDS
from support.sentinels import MASTER, Sentinels
from support.tls_proxy import TlsProxy
from support.versions import IS_CELERY_57
from support.waiting import wait_until

from rowcache_tasks import CacheError, ConfigError, Refresher, RowCache
from rowcache_tasks.celery.defaults import package_defaults
from rowcache_tasks.celery.kombu.transport import BrokerConnection
from rowcache_tasks.ops.doctor.failover import examine_sentinels
from rowcache_tasks.schedule.connection import connect

TABLES = {"inv": {"table": "inventory"}}
TIMEOUT_S = 3


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory):
    with Sentinels(tmp_path_factory.mktemp("sentinels")) as sentinels:
        yield sentinels


@pytest.fixture
def hung_url():
    """URL of 20 Sentinels that accept connections and never answer."""
    callers = []
    with Listener(callers.append) as listener:
        yield f"redis+sentinel://{','.join([f'127.0.0.1:{listener.port}'] * 20)}/mymaster/0"
    for caller in callers:
        caller.close()


def open_all(url, timeout):
    """Return name -> a call of each kind of client."""
    readers = {name: kind("inv", url=url, namespace="", timeout=timeout) for name, kind in READER_KINDS.items()}
    refresher = Refresher(url=url, tables=TABLES, timeout=timeout)
    calls = {name: lambda reader=reader: reader.get("1") for name, reader in readers.items()}
    return calls | {"refresher": lambda: refresher.refresh_now("inv", ["1"])}


def test_sentinels_that_hang_are_an_error_within_the_time_out(hung_url):
    for name, call in open_all(hung_url, TIMEOUT_S).items():
        started = time.monotonic()
        with pytest.raises(CacheError, match="No master found for 'mymaster': its Sentinels are away"):
            call()
        assert time.monotonic() - started < 5 * TIMEOUT_S, f"{name}: not one time-out for each of the 20"


def test_no_connection_to_a_sentinel_is_kept(sentinels):
    calls = open_all(sentinels.url(), 10)
    assert {name: call() for name, call in calls.items()} == {"threads": None, "asyncio": None, "refresher": 0}
    for port in sentinels.ports:
        with redis.Redis(port=port) as client:
            callers = [caller for caller in client.client_list() if not caller["name"].startswith("sentinel-")]
            assert len(callers) == 1, f"only that of the test: {callers}"


@pytest.fixture
def rotating(sentinels, tmp_path):
    """URLs of the pair, each with the provider of a user that is there."""
    primary, authority = sentinels.pair.primary, trustme.CA()
    sentinels.pair.command(primary, "ACL", "SETUSER", "rotating", *login.RULES)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ports = ",".join(f"127.0.0.1:{port}" for port in sentinels.ports)
    urls = {
        "Sentinels": f"redis+sentinel://{ports}/mymaster/0?",
        "TCP": f"redis://127.0.0.1:{sentinels.pair.port_of(sentinels.pair.primary)}/0?",
        "a Unix socket": f"{primary.url}&",
    }
    with TlsProxy(unquote(urlsplit(primary.url).path), authority.issue_cert("127.0.0.1")) as proxy:
        urls["TLS"] = f"rediss://127.0.0.1:{proxy.port}/0?ssl_cert_reqs=required&ssl_ca_certs={tmp_path}/ca.pem&"
        yield {name: f"{url}credential_provider={login.NAME}" for name, url in urls.items()}


@pytest.mark.parametrize("way", ["Sentinels", "TCP", "a Unix socket", "TLS"])
def test_cache_and_broker_log_in_with_the_credentials_of_the_provider(rotating, way):
    with connect(rotating[way], "test") as client:
        assert client.execute_command("ACL", "WHOAMI") == b"rotating"
    if not IS_CELERY_57:
        pytest.skip("kombu before 5.7 knows no provider")
    defaults = package_defaults(rotating[way], None)
    options = defaults["broker_transport_options"]
    with BrokerConnection(defaults["broker_url"], transport_options=options) as connection:
        assert connection.default_channel.client.execute_command("ACL", "WHOAMI") == b"rotating"


def test_provider_that_fails_is_an_outage_and_one_that_is_none_a_wrong_setting(rotating, monkeypatch, caplog):
    monkeypatch.setattr(login.Login, "error", LookupError("no token at https://me:secret@vault"))
    calls = open_all(rotating["TCP"], 5)
    reason = "the credential_provider failed: LookupError: no token at https://***@vault"
    for call in calls.values():
        with pytest.raises(CacheError, match=re.escape(reason)):
            call()
    with RowCache("inv", url=rotating["TCP"], near=10) as reader:
        with pytest.raises(CacheError):
            reader.get(1)
        said = "the near cache is off, rows are read from Redis until it is on again: "
        wait_until(lambda: "near cache" in caplog.text, "the near cache says so")
        assert said + reason in caplog.messages
    monkeypatch.undo()
    assert {name: call() for name, call in calls.items()} == {"threads": None, "asyncio": None, "refresher": 0}
    for name, reason in {
        "support.nothing:Login": "cannot be called: ModuleNotFoundError: No module named 'support.nothing'",
        "support.login:Nothing": "cannot be called: AttributeError: ",
        "builtins:dict": "returned a dict: allowed is a redis.CredentialProvider",
    }.items():
        with pytest.raises(ConfigError, match=f"credential_provider {name} {reason}"):
            connect(f"redis://127.0.0.1:1/0?credential_provider={name}", "test")


def test_a_name_that_the_sentinels_do_not_know_is_named(sentinels):
    url = sentinels.url().replace(MASTER, "other")
    with pytest.raises(redis.TimeoutError, match=r"No master found for 'other': .*, or have no such name"):
        examine(url, "sentinels")
    with connect(url, "test") as client:
        found = [finding for finding in examine_sentinels(client) if finding.level == "fail"]
    assert [finding.text for finding in found] == [
        f"sentinels: 127.0.0.1:{port} cannot fail 'other' over: No such master with that name: "
        "correct the name in rowcache_redis_url"
        for port in sentinels.ports
    ]


def test_a_sentinel_that_watches_no_pair_of_that_name_is_no_other_primary(sentinels):
    port = sentinels.ports[0]
    with redis.Redis(port=port) as sentinel:
        sentinel.execute_command("SENTINEL", "REMOVE", MASTER)
        try:
            (missing, _) = sorted(examine(sentinels.url(), "sentinels"))
        finally:
            primary = sentinels.pair.port_of(sentinels.pair.primary)
            sentinel.execute_command("SENTINEL", "MONITOR", MASTER, "127.0.0.1", primary, 2)
            sentinel.execute_command("SENTINEL", "SET", MASTER, "down-after-milliseconds", 1000)
    assert missing.startswith(f"fail sentinels: 127.0.0.1:{port} cannot fail '{MASTER}' over: No such master ")
    wait_until(sentinels._is_watched, "the Sentinels see each other again")


def test_sentinels_without_a_quorum_and_a_primary_that_writes_alone_are_named(sentinels):
    """The last test of this file: it kills two of the Sentinels."""
    url = sentinels.url()
    (away,) = examine(url, "sentinels")
    assert away.startswith("warn sentinels: 127.0.0.1:1 does not answer: Error 111 connecting to 127.0.0.1:1. ")
    assert away.endswith(": start it, or take it out of rowcache_redis_url")

    (alone,) = examine(url, "replicas")
    assert alone.startswith("warn replicas: min-replicas-to-write is 0: a primary that is cut off from its replicas ")
    assert alone.endswith(": CONFIG SET min-replicas-to-write 1, at each server of the pair")
    sentinels.pair.command(sentinels.pair.primary, "CONFIG", "SET", "min-replicas-to-write", 1)
    assert examine(url, "replicas", replicas=1) == []
    (few,) = examine(url, "replicas", replicas=2)
    assert few == (
        "fail replicas: 1 connected and rowcache_replicas is 2, so every schedule change waits: "
        "start or connect the others, or lower the setting"
    )

    for child in sentinels.children[1:]:
        child.kill()

    def quorum():
        return [line for line in examine(url, "sentinels") if line.startswith("fail")]

    (lost,) = wait_until(quorum, "the last Sentinel misses the others")
    assert lost.startswith(f"fail sentinels: 127.0.0.1:{sentinels.ports[0]} cannot fail '{MASTER}' over: NOQUORUM ")
    assert lost.endswith(": start the other Sentinels, or lower the quorum (SENTINEL SET)")
