"""Broker connection of a dispatcher."""

import pytest
import trustme
from celery import Celery
from kombu import Connection
from kombu.exceptions import EncodeError
from support.failover_pair import FailoverPair
from support.tls_proxy import TlsProxy

import rowcache_tasks.tasks  # noqa: F401 registers them
from rowcache_tasks.beat.loop import Publisher
from rowcache_tasks.celery import app as our_app
from rowcache_tasks.celery.kombu.transport import OF_PACKAGE, OF_USER
from rowcache_tasks.config.settings import Settings
from rowcache_tasks.schedule.claim import Claim


@pytest.fixture
def make_publisher(install_in):
    return lambda url: Publisher(install_in(Celery(broker=url, set_as_current=False)), Settings("redis://", {}))


def claim(row_id):
    return Claim("100", "130", [row_id])


def test_connection_is_closed_after_a_send_that_failed(valkey, client, make_publisher):
    publisher = make_publisher(valkey.broker_url(5))

    def connections():
        return [each for each in client.client_list() if each["db"] == "5"]

    publisher.send("inv", [claim("1")])
    assert connections()
    broken = claim("2")
    broken.row_ids[0] = object()
    with pytest.raises(EncodeError):
        publisher.send("inv", [broken])
    assert connections() == []
    assert publisher.queue_length() == 1
    publisher.close()


def test_message_has_a_time_limit_after_which_a_process_that_hangs_is_replaced(valkey, make_publisher):
    url = valkey.broker_url(6)
    publisher = make_publisher(url)
    publisher.send("inv", [claim("1")])
    with Connection(url) as broker:
        message = broker.default_channel.basic_get("rowcache.refresh", no_ack=True)
    assert message.headers["timelimit"][0] == 90, "twice the lease, and half a minute"
    publisher.close()


@pytest.mark.parametrize("kind", ["redis", "redis+socket", "rediss"])
def test_send_that_a_replica_refuses_is_repeated_at_the_new_primary(kind, tmp_path, make_publisher):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with (
        FailoverPair(is_split=True) as pair,
        TlsProxy(pair.path, authority.issue_cert("127.0.0.1")) as proxy,
    ):
        urls = {
            "redis": pair.url(1),
            "redis+socket": f"redis+socket://{pair.path}?virtual_host=1",
            "rediss": f"rediss://127.0.0.1:{proxy.port}/1?ssl_cert_reqs=required&ssl_ca_certs={tmp_path}/ca.pem",
        }
        publisher = make_publisher(urls[kind])
        publisher.send("inv", [claim("1")])
        pair.fail_over()
        publisher.send("inv", [claim("2")])
        assert publisher.queue_length() == 1, "the new primary has the second message"
        publisher.close()


@pytest.mark.parametrize("url", ["redis://", "sentinel://h1;sentinel://h2", "amqp://"])
def test_senders_of_an_application_use_the_transports_of_the_package(url):
    """Their connections are in a pool of kombu."""
    app = Celery(broker=url, set_as_current=False, amqp=our_app.amqp_cls)
    with app.producer_or_acquire() as producer:
        assert producer.__connection__.get_transport_cls() in OF_PACKAGE.values()


def test_senders_of_an_application_of_the_user_use_transports_that_take_compressed_messages(install_in):
    app = install_in(Celery(broker="redis://", set_as_current=False))
    with app.producer_or_acquire() as producer:
        assert producer.__connection__.get_transport_cls() in OF_USER.values()
