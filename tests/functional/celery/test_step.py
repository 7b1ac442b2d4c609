"""Events of tasks, which a worker sends together."""

import json
from base64 import b64decode
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.bootsteps import CLOSE
from kombu.asynchronous import Hub
from support.waiting import wait_until

from rowcache_tasks.celery.kombu.step import EventFlush


@pytest.fixture
def consumer(valkey):
    app = Celery(broker=valkey.broker_url(9))
    with app.connection_for_write() as connection:
        dispatcher = app.events.Dispatcher(connection, buffer_group=["task"])
        hub, blueprint = Hub(), SimpleNamespace(state=None)
        yield SimpleNamespace(hub=hub, event_dispatcher=dispatcher, blueprint=blueprint)
        hub.close()


@pytest.fixture
def heard(client):
    """Returns the kinds of the events in each message sent so far."""
    messages = []
    with client.pubsub() as listener:
        listener.psubscribe("*celeryev*")

        def heard():
            listener.ping()
            while (found := listener.get_message(timeout=60)) and found["type"] != "pong":
                if found["type"] == "pmessage":
                    events = json.loads(b64decode(json.loads(found["data"])["body"]))
                    messages.append([event["type"] for event in events])
            return messages

        yield heard


def test_events_are_sent_together_and_at_once_when_the_worker_stops(consumer, heard):
    step = EventFlush(consumer)
    step.start(consumer)
    for kind in ("task-received", "task-started", "task-succeeded"):
        consumer.event_dispatcher.send(kind, uuid="1")
    assert heard() == []
    wait_until(lambda: consumer.hub.fire_timers() is not None and heard(), "the events are sent")
    assert heard() == [["task-received", "task-started", "task-succeeded"]]
    consumer.event_dispatcher.send("task-received", uuid="2")
    step.stop(consumer)
    assert len(heard()) == 1, "a lost connection sends nothing"
    consumer.blueprint.state = CLOSE
    step.stop(consumer)
    consumer.event_dispatcher.send("task-started", uuid="2")
    assert heard()[1:] == [["task-received"], ["task-started"]]
