"""The list of batches that no worker has started, and how a worker takes one off it."""

from dataclasses import replace

import pytest

from rowcache_tasks.dispatch.backpressure import Backpressure, Limits
from rowcache_tasks.dispatch.sent_batches import SentBatches
from rowcache_tasks.schedule.exchange import Exchange


@pytest.fixture
def batches(client):
    return SentBatches(client, "queue:")


@pytest.fixture
def claim(schedule):
    schedule.put_rows({"1": (100, 0)})
    return schedule.claim_rows(10, 30)[0]


def start(batches, client, claim):
    with Exchange(client) as exchange:
        return batches.start([claim], exchange)


def test_worker_that_starts_a_batch_takes_it_and_those_sent_before_off_the_list(batches, client, claim):
    at = float(claim.claimed_at)
    client.zadd("queue:", {"before": at - 7.6, "perhaps before": at - 7.4, "after": at + 1})
    start(batches, client, claim)
    assert client.zrange("queue:", 0, -1) == [b"perhaps before", b"after"]


def test_start_is_noted_although_the_connection_had_died(batches, client, claim):
    client.client_kill_filter(_type="normal", skipme=False)
    start(batches, client, claim)
    assert client.zcard("queue:") == 0


def test_batch_whose_lease_ended_a_minute_ago_has_expired_also_when_the_time_is_known(batches, client, claim):
    for _ in range(2):
        assert start(batches, client, claim) == [claim]
        at = float(claim.claimed_at)
        late = [replace(claim, claimed_at=f"{at - s}", lease_until=f"{at - s + 5}") for s in (60, 70)]
        with Exchange(client) as exchange:
            assert batches.start(late, exchange) == late[:1]


def test_list_of_another_type_holds_nothing_up(batches, client, claim, caplog):
    client.set("queue:", "somebody else's")
    start(batches, client, claim)
    batches.add(claim)
    batches.remove(claim)
    assert caplog.text.count("queue: is not usable") == 2
    assert client.echo("still in step") == b"still in step"


def test_empty_queue_says_nothing_of_a_batch_that_was_claimed_within_half_of_the_shortest_lease(batches, client, claim):
    """Another dispatcher may be about to send it."""
    backpressure = Backpressure(batches, lambda: 0, Limits(lease_s=30, max_queue=10))
    at = float(claim.claimed_at)
    client.zadd("queue:", {"older": at - 3, "younger": at - 2})
    assert backpressure.forget_lost()
    assert client.zrange("queue:", 0, -1) == [b"younger", claim.claimed_at.encode()]
