"""Checks of RabbitMQ: messages are confirmed, and the queue of schedule changes drops none that is delivered often."""

import base64
import json
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from celery import Celery
from kombu.exceptions import KombuError

from rowcache_tasks.errors.text import one_line
from rowcache_tasks.ops.finding import Finding, ok, warn

DEFAULT_LIMIT = 20  # deliveries of a message of a quorum queue, since RabbitMQ 4
TIMEOUT_S = 2.0


def examine_rabbitmq(app: Celery, where: str, queue: str) -> Iterator[Finding]:
    """Check the broker of `app` at the URL `where`, which has no password, and the queue of schedule changes."""
    is_confirmed = bool(app.conf.broker_transport_options.get("confirm_publish"))
    if not is_confirmed:
        yield warn(
            f"broker at {where} confirms no message, so a schedule change sent while a node dies may be lost: "
            'set "confirm_publish": True in broker_transport_options'
        )
    declared = getattr(app.amqp.queues.get(queue), "queue_arguments", None) or {}
    try:
        with app.connection_for_write() as connection:
            version = str(connection.connection.server_properties.get("version", ""))
            url, headers = address_of(connection, queue)
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 http or https
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
            found = json.load(reply)
    except (OSError, HTTPException, KombuError, ValueError) as error:
        if declared.get("x-queue-type") == "quorum":
            yield warn(
                f"broker: delivery-limit of {queue} is not known: the management API of RabbitMQ does not answer: "
                f"{one_line(str(error))}: rabbitmq-plugins enable rabbitmq_management, or manager_port in "
                "broker_transport_options"
            )
        return
    if found.get("type") == "quorum" and "effective_policy_definition" not in found:
        yield warn(
            f"broker: delivery-limit of {queue} is not known: the management API of RabbitMQ has no statistics of "
            f"{found.get('leader')}: rabbitmq-plugins enable rabbitmq_management_agent there, or ask again soon"
        )
        return
    if (limit := limit_of(found, version)) is None:
        yield ok(f"broker: {queue} is a {found.get('type', 'classic')} queue without delivery-limit")
        return
    lost = "whose worker is killed" if is_confirmed else "that Redis does not take"
    yield warn(
        f"broker: delivery-limit of {queue} is {limit}: a schedule change {lost} so often is dropped: "
        "set it to -1 by a policy (rabbitmqctl set_policy), before RabbitMQ 4 remove it"
    )


def address_of(connection: Any, queue: str) -> tuple[str, dict[str, str]]:
    """Return the URL of a queue in the management API, and the header with the login; as kombu has its options."""
    given = {
        name: connection.transport_options.get(f"manager_{name}") or getattr(connection, name, None)
        for name in ("hostname", "userid", "password")
    }
    port = connection.transport_options.get("manager_port", 15672)
    scheme, host = ("https" if connection.ssl and port != 15672 else "http"), given["hostname"] or "localhost"
    host = f"[{host}]" if ":" in host else host
    path = f"{quote(connection.virtual_host or '/', safe='')}/{quote(queue, safe='')}"
    login = base64.b64encode(f"{given['userid'] or 'guest'}:{given['password'] or 'guest'}".encode()).decode()
    return f"{scheme}://{host}:{port}/api/queues/{path}", {"Authorization": f"Basic {login}"}


def limit_of(queue: Mapping[str, Any], version: str) -> int | None:
    """Return the number of deliveries after which a queue drops a message; None: never."""
    if queue.get("type") != "quorum":
        return None
    places = {"arguments": "x-delivery-limit", "effective_policy_definition": "delivery-limit"}
    given = {name: queue.get(place) for place, name in places.items()}
    limits = [int(values[name]) for name, values in given.items() if isinstance(values, dict) and name in values]
    if finite := [limit for limit in limits if limit >= 0]:
        return min(finite)
    return DEFAULT_LIMIT if not limits and int(version.partition(".")[0] or 0) >= 4 else None
