"""The management API of RabbitMQ: its address, and an answer that is none of HTTP."""

import socket
import threading
from contextlib import nullcontext
from types import SimpleNamespace

from rowcache_tasks.ops.doctor.rabbitmq import address_of, examine_rabbitmq

QUEUE = "rowcache.schedule"


def connection(**options):
    return nullcontext(
        SimpleNamespace(
            hostname="127.0.0.1",
            userid="u",
            password="p",
            virtual_host="/",
            ssl=False,
            connection=SimpleNamespace(server_properties={"version": "4.0.5"}),
            transport_options=options,
        )
    )


def test_address_of_version_6_is_in_brackets():
    with connection(manager_hostname="::1") as found:
        assert address_of(found, QUEUE)[0] == "http://[::1]:15672/api/queues/%2F/rowcache.schedule"


def test_answer_that_is_none_of_http_is_a_warning():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"AMQP\0\0\t\1")

        thread = threading.Thread(target=answer)
        thread.start()
        queues = {QUEUE: SimpleNamespace(queue_arguments={"x-queue-type": "quorum"})}
        app = SimpleNamespace(
            conf=SimpleNamespace(broker_transport_options={"confirm_publish": True}),
            amqp=SimpleNamespace(queues=queues),
            connection_for_write=lambda: connection(manager_port=listener.getsockname()[1]),
        )
        (finding,) = examine_rabbitmq(app, "amqp://here", QUEUE)
        thread.join()
    assert finding.level == "warn"
    assert "the management API of RabbitMQ does not answer" in finding.text
