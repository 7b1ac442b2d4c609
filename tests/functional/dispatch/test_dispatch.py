"""The dispatcher's policy, with a real server for the schedule and plain callables for the broker."""

import threading
import time

import pytest
import redis
from proof.interleaving.mutant import Mutant
from support.waiting import wait_until

from rowcache_tasks.config.settings import Table
from rowcache_tasks.dispatch import dispatcher as dispatch
from rowcache_tasks.dispatch.backpressure import Backpressure, Limits
from rowcache_tasks.dispatch.dispatcher import Dispatcher
from rowcache_tasks.dispatch.failing import Failing
from rowcache_tasks.dispatch.sent_batches import SentBatches
from rowcache_tasks.dispatch.wakeup import Wakeup
from rowcache_tasks.schedule.exchange import Exchange
from rowcache_tasks.schedule.rows import Schedule


class Broker:
    """A queue that can fail."""

    def __init__(self):
        self.sent = []
        self.messages = []
        """Number of claims in each message."""
        self.length = 0
        self.asked = 0
        self.error = None
        self.before_send = self.after_look = lambda: None
        """Called once: what happens while the dispatcher stands still."""

    def send(self, table, claims):
        happen, self.before_send = self.before_send, lambda: None
        happen()
        if self.error:
            raise self.error
        self.sent += [(table, claim) for claim in claims]
        self.messages.append(len(claims))

    def queue_length(self):
        self.asked += 1
        length, happen, self.after_look = self.length, self.after_look, lambda: None
        happen()
        return length

    @property
    def rows(self):
        return [row_id for _, claim in self.sent for row_id in claim.row_ids]


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
def build(client, schedule, broker):
    opened = []

    def build(schedules=(schedule,), batch_size=10, max_queue=5, poll_interval_s=0.05, lease_s=30):
        limits = Limits(batch_size, lease_s, poll_interval_s, max_queue)
        opened.append(Dispatcher(client, schedules, broker, limits))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


def run_until(dispatcher, is_done, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not is_done():
        assert time.monotonic() < deadline
        dispatcher.run(time.monotonic() + 0.02)


@pytest.fixture
def flood(schedule, client):
    """3,000 new rows that were due before 30 rows with a value; return the ids of the latter."""
    known = [f"known {n}" for n in range(30)]
    schedule.put_rows(dict.fromkeys(known, (100, 0)))
    schedule.commit_rows(schedule.claim_rows(30, 30)[0], dict.fromkeys(known, b"{}"))
    client.delete("queue:")
    now = client.time()[0]
    client.zadd("schedule:", {f"new {n}": now - 60 for n in range(3000)} | dict.fromkeys(known, now - 1))
    client.zadd("delay:", {f"new {n}": 100 for n in range(3000)})
    return set(known)


def test_rows_refreshed_before_are_sent_beside_thousands_that_were_scheduled_at_once(build, broker, flood, monkeypatch):
    monkeypatch.setattr("rowcache_tasks.dispatch.backpressure.LEAST_LEASE_S", 30.0)  # no lease ends on a slow machine
    dispatcher = build(max_queue=10_000)
    for _ in range(4):
        dispatcher.run_once()
    assert flood <= set(broker.rows)
    run_until(dispatcher, lambda: len(broker.rows) >= 3030)
    assert len(set(broker.rows)) == 3030, "every row, and none twice"


def test_rows_refreshed_before_are_sent_although_workers_hold_as_many_batches_as_the_queue_takes(
    build, broker, flood, client
):
    now = client.time()[0]
    client.zadd("queue:", {f"{now}.{n}": now for n in range(5)})
    dispatcher = build(max_queue=5)
    broker.length = 1
    for _ in range(4):
        dispatcher.run_once()
    assert flood <= set(broker.rows)


def test_rows_that_fail_since_long_cost_no_look(build, schedule, broker, client):
    client.hset("failures:", mapping={f"bad {n}": "{}" for n in range(1000)})
    schedule.put_rows({str(n): (100, 0) for n in range(30)})
    client.zadd("refreshed:", {str(n): 1 for n in range(30)})
    claim, _ = schedule.claim_rows(10, 30)
    assert claim.unproven == 0
    client.hset("failures:", mapping={str(n): "{}" for n in range(30)})
    claim, _ = schedule.claim_rows(10, 30)
    assert claim.unproven == 10


def test_look_that_takes_new_rows_for_proven_ones_is_found(client, schedule, broker, build):
    mutant = Mutant("claim_rows", "look-at-all").schedule(client, schedule.table)
    schedule.put_rows({"1": (100, 0)})
    assert schedule.claim_rows(10, 30, 10)[0].row_ids == []
    assert mutant.claim_rows(10, 30, 10)[0].row_ids == ["1"]


def test_look_goes_on_after_rows_that_were_due_at_one_time(client, schedule):
    client.zadd("schedule:", {f"new {n}": 1 for n in range(20)} | {"known": 2})
    client.zadd("delay:", {f"new {n}": 100 for n in range(20)} | {"known": 100})
    client.zadd("refreshed:", {"known": 1})
    since, found = "-inf", []
    for _ in range(3):
        claim, _ = schedule.claim_rows(10, 30, 10, since)
        since, found = claim.go_on_at, found + claim.row_ids
    assert (since, found) == ("", ["known"])


def test_due_rows_are_sent_in_batches(build, schedule, broker):
    schedule.put_rows({str(n): (100, 0) for n in range(25)})
    dispatcher = build()
    pauses = [dispatcher.run_once() for _ in range(3)]
    assert [len(claim.row_ids) for _, claim in broker.sent] == [10, 10, 5]
    assert sorted(map(int, broker.rows)) == list(range(25))
    assert pauses[:2] == [0, 0], "a full batch is followed by the next one at once"
    assert 0 < pauses[2] <= 0.05


def test_nothing_due_sends_nothing_and_sleeps_no_longer_than_the_poll_interval(build, schedule, broker):
    schedule.put_rows({"1": (100, 50)})
    assert 0.04 < build().run_once() <= 0.05
    assert broker.sent == []


def test_next_due_time_shortens_the_sleep(build, schedule):
    schedule.put_rows({"1": (100, 50)})
    assert build(poll_interval_s=100).run_once() <= 50


def test_dispatcher_of_a_table_above_its_cap_sleeps_until_another_row_is_allowed(build, broker, client):
    schedule = Schedule(client, Table("inv", "inventory", max_rate=0.1))
    schedule.put_rows({str(n): (100, 0) for n in range(30)})
    client.zadd("refreshed:", {str(n): 1 for n in range(30)})
    dispatcher = build((schedule,))
    dispatcher.run_once()
    assert len(broker.rows) == 1
    assert dispatcher.run_once() > 0.01
    client.hset("state:", "paced_at", 0)  # long ago
    run_until(dispatcher, lambda: len(broker.rows) == 2)


def test_rows_that_fail_leave_half_of_the_cap_to_others_however_low_it_is(build, broker, client):
    schedule = Schedule(client, Table("inv", "inventory", max_rate=2))
    schedule.put_rows({f"bad {n}": (100, 0) for n in range(30)})
    schedule.put_rows({f"good {n}": (100, 0.001) for n in range(30)})
    client.zadd("refreshed:", {f"good {n}": 1 for n in range(30)})
    dispatcher = build((schedule,))
    for _ in range(60):
        client.hset("state:", "paced_at", client.time()[0] - 0.5)  # one row is allowed, or two
        dispatcher.run_once()
        dispatcher._due_at[schedule.table.keys.wake] = 0.0
    good = [row_id for row_id in broker.rows if row_id.startswith("good")]
    assert 5 < len(good) < len(broker.rows) - 5


def test_idle_dispatcher_does_not_ask_the_broker(build, broker):
    dispatcher = build()
    for _ in range(5):
        dispatcher.run_once()
    assert broker.asked == 0


def test_nothing_is_claimed_while_the_queue_is_above_the_high_water_mark(build, schedule, broker):
    schedule.put_rows({str(n): (100, 0) for n in range(30)})
    dispatcher = build(max_queue=8)
    broker.length = 2
    assert dispatcher.run_once() > 0
    assert broker.sent == [], "two messages may hold eight batches"
    broker.length = 1
    dispatcher.run_once()
    assert len(broker.sent) == 1


def test_broker_is_asked_only_when_the_batches_that_nobody_started_are_too_many(build, schedule, broker):
    dispatcher = build(batch_size=1, max_queue=5)
    schedule.put_rows({str(n): (100, 0) for n in range(9)})
    for _ in range(6):
        dispatcher.run_once()
    assert (len(broker.sent), broker.asked) == (6, 1), "a dispatcher that has just started asks"
    for _ in range(3):
        dispatcher.run_once()
    assert (len(broker.sent), broker.asked) == (9, 4), "the workers have fetched them: the queue is short"


def test_batch_that_is_not_full_is_followed_later_the_more_wait_for_a_worker():
    pauses = [Backpressure(None, None, Limits(max_queue=behind)).linger_s(0.05) for behind in range(100)]
    assert 0 < pauses[0] < 0.005
    assert pauses[:10] == pytest.approx([pauses[0] * (1 + behind) for behind in range(10)])
    assert max(pauses) == 0.05, "a change is noticed within the poll interval all the same"


def test_queue_is_bounded_although_the_list_of_batches_is_not_usable(build, schedule, broker, client):
    client.set("queue:", "somebody else's")
    schedule.put_rows({str(n): (100, 0) for n in range(30)})
    dispatcher = build(batch_size=1)
    dispatcher.run_once()
    assert len(broker.sent) == 1
    broker.length = 5
    for _ in range(3):
        assert dispatcher.run_once() > 0
    assert len(broker.sent) == 1


def test_wakes_do_not_make_small_batches_follow_each_other_at_once(build, schedule, broker, client):
    client.zadd("queue:", {f"sent {n}": float(client.time()[0]) for n in range(50)})
    dispatcher = build(max_queue=1000, poll_interval_s=10)
    schedule.put_rows({"1": (100, 0)})
    run_until(dispatcher, lambda: broker.sent)
    until = dispatcher._linger_until
    schedule.put_rows({"2": (100, 0)})
    run_until(dispatcher, lambda: len(broker.sent) == 2)
    assert time.monotonic() >= until, "50 batches wait, and a wake changes nothing about that"


def test_failed_send_releases_the_batch_at_once(build, schedule, broker, client):
    schedule.put_rows({"1": (100, 0), "2": (100, 0)})
    broker.error = OSError("broker is away")
    with pytest.raises(OSError, match="broker is away"):
        build().run_once()
    assert sorted(schedule.claim_rows(10, 30)[0].row_ids) == ["1", "2"]
    assert client.exists("failures:") == 0


@pytest.fixture
def proven(schedule, client):
    """Six due rows that were refreshed before, and as many batches that wait for workers as asked for."""

    def proven(waiting):
        rows = list("012345")
        schedule.put_rows(dict.fromkeys(rows, (100, 0)))
        schedule.commit_rows(schedule.claim_rows(6, 30)[0], dict.fromkeys(rows, b"{}"))
        client.delete("queue:")
        now = client.time()[0]
        client.zadd("schedule:", dict.fromkeys(rows, now))
        client.zadd("queue:", {f"{now}.{n}": now for n in range(waiting)} or {"long ago": 1})
        client.zrem("queue:", "long ago")

    return proven


@pytest.mark.parametrize(("waiting", "messages"), [(0, [1, 1, 2, 2]), (2, [2, 4]), (9, [4, 2])])
def test_claims_share_a_message_as_long_as_batches_wait(waiting, messages, build, proven, broker):
    proven(waiting)
    run_until(build(batch_size=1, max_queue=100), lambda: len(broker.rows) == 6)
    assert (broker.messages, sorted(broker.rows)) == (messages, list("012345"))


def test_claims_are_sent_when_redis_is_lost_before_the_next_of_their_message(build, proven, broker, client, schedule):
    proven(9)
    claim, calls = schedule.claim_rows, []

    def claim_two(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise redis.ConnectionError("Redis is away")
        return claim(*arguments)

    schedule.claim_rows = claim_two
    build(batch_size=1, max_queue=100).run_once()
    assert broker.messages == [2]


def test_rows_of_all_claims_of_a_message_that_was_not_sent_are_due_at_once(build, proven, broker, client):
    proven(9)
    broker.error = OSError("the broker is away")
    with pytest.raises(OSError, match="away"):
        build(batch_size=1, max_queue=100).run_once()
    assert client.zcount("schedule:", "-inf", client.time()[0] + 1) == 6
    assert client.zcard("queue:") == 9


@pytest.mark.parametrize(("batch_size", "claims"), [(120, 1), (60, 2)])
def test_long_row_ids_share_no_message(batch_size, claims, build, schedule, broker, client):
    rows = [f"{n:03}" * 300 for n in range(240)]
    schedule.put_rows(dict.fromkeys(rows, (100, 0)))
    client.zadd("refreshed:", dict.fromkeys(rows, 1))
    now = client.time()[0]
    client.zadd("queue:", {f"{now}.{n}": now for n in range(9)})
    build(batch_size=batch_size, max_queue=100).run_once()
    assert broker.messages == [claims]


def test_run_survives_a_broker_that_fails_and_goes_on_when_it_is_back(build, schedule, broker, caplog):
    schedule.put_rows({"1": (100, 0)})
    broker.error = OSError("broker is away")
    dispatcher = build()
    run_until(dispatcher, lambda: "dispatch_failed" in caplog.text)
    broker.error = None
    run_until(dispatcher, lambda: broker.sent)
    assert broker.rows == ["1"]
    assert [r.levelname for r in caplog.records if "dispatch_failed" in r.message].count("WARNING") == 1


def test_change_through_the_api_wakes_a_sleeping_dispatcher(build, schedule, broker, client):
    dispatcher = build(poll_interval_s=60)
    is_over = threading.Event()

    def sleep():
        while not is_over.is_set():
            dispatcher.run(time.monotonic() + 0.5)

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    try:
        wait_until(lambda: "blpop" in str(client.client_list()), "it sleeps")
        schedule.put_rows({"1": (100, 0)})
        wait_until(lambda: broker.sent, "the row is sent, long before the dispatcher looks by itself")
        assert client.llen("wake:") == 0
    finally:
        is_over.set()
        sleeper.join(60)


def test_table_that_fails_does_not_stop_the_others(build, client, broker, caplog):
    tables = [Schedule(client, Table(name, name, namespace=name)) for name in ("a", "b")]
    for one in tables:
        one.put_rows({"1": (100, 0)})
    client.delete("refreshed:a")
    client.set("refreshed:a", "a string where a sorted set belongs")
    dispatcher = build(tables)
    dispatcher.run_once()
    dispatcher.run_once()
    assert [table for table, _ in broker.sent] == ["b"]
    assert caplog.text.count("dispatch_failed for a, trying again: ResponseError: WRONGTYPE") == 1


def test_table_that_fails_again_after_it_worked_or_had_nothing_due_is_logged_again(caplog):
    failing, errors = Failing(2), {"a": OSError("away")}
    for event in (lambda: None, lambda: failing.note({}, ["a"]), lambda: failing.keep(["b"])):
        event()
        failing.note(errors, ["b"])
        failing.note(errors, ["b"])
    assert caplog.text.count("dispatch_failed for a, trying again: OSError: away") == 3
    failing.note({}, ["a"])
    failing.note({"b": OSError("away")}, [])


def test_nothing_is_claimed_while_a_batch_lies_in_the_queue_for_half_of_the_shortest_lease(
    build, schedule, broker, client, caplog
):
    schedule.put_rows({"1": (100, 0)})
    dispatcher = build()
    dispatcher.run_once()
    (claimed_at,) = client.zrange("queue:", 0, -1)
    client.zadd("queue:", {claimed_at: float(claimed_at) - 3})
    client.zadd("schedule:", {"1": 0})
    broker.length = 1
    dispatcher.run_once()
    dispatcher.run_once()
    assert broker.rows == ["1"]
    assert "queue_stuck" not in caplog.text, "which is nothing strange when there is too much to do"
    dispatcher._pressures.by_queue["queue:"]._refused_since -= 31
    dispatcher.run_once()
    dispatcher.run_once()
    assert caplog.text.count("queue_stuck") == 1, "but for a whole lease it is"
    client.zadd("queue:", {claimed_at: float(claimed_at) - 2})
    dispatcher.run_once()
    assert broker.rows == ["1", "1"]


def test_batches_lost_with_the_broker_are_forgotten_when_its_queue_is_empty(build, schedule, broker, client):
    schedule.put_rows({"1": (100, 0)})
    client.zadd("queue:", {"1.5": 1.5, "2.5": 2.5})
    dispatcher = build()
    assert dispatcher.run_once() == 0
    assert client.zcard("queue:") == 0
    dispatcher.run_once()
    assert broker.rows == ["1"]


def test_batches_that_have_expired_hold_nothing_up_while_other_messages_are_in_the_queue(
    build, schedule, broker, client
):
    schedule.put_rows({"1": (100, 0)})
    lost = client.time()[0] - 91
    client.zadd("queue:", {lost: lost})
    broker.length = 1
    dispatcher = build()
    dispatcher.run_once()
    dispatcher.run_once()
    assert broker.rows == ["1"]


def test_batch_whose_lease_has_ended_and_that_a_worker_may_still_start_holds_up_claims(build, schedule, broker, client):
    schedule.put_rows({"1": (100, 0)})
    waiting = client.time()[0] - 40
    client.zadd("queue:", {waiting: waiting})
    broker.length = 1
    dispatcher = build(lease_s=30)
    for _ in range(3):
        dispatcher.run_once()
    assert broker.rows == []


def test_list_of_batches_of_another_type_holds_nothing_up(build, schedule, broker, client):
    client.set("queue:", "a string where a sorted set belongs")
    schedule.put_rows({"1": (100, 0)})
    build().run_once()
    with Exchange(client) as exchange:
        SentBatches(client, "queue:").start([broker.sent[0][1]], exchange)
    assert broker.rows == ["1"]


def test_claim_without_the_look_at_the_queue_is_found(client, schedule, broker, build):
    mutant = Mutant("claim_rows", "ignore-queue").schedule(client, schedule.table)
    client.zadd("queue:", {"1": 1})
    schedule.put_rows({"1": (100, 0)})
    broker.length = 1
    build([schedule]).run_once()
    assert broker.rows == []
    build([mutant]).run_once()
    assert broker.rows == ["1"]


def test_batch_that_another_dispatcher_overtakes_stays_on_the_list(build, schedule, broker, client):
    schedule.put_rows({"1": (100, 0), "2": (100, 0)})
    one, two = build(batch_size=1), build(batch_size=1)

    def overtake():
        two.run_once()
        with Exchange(client) as exchange:
            SentBatches(client, "queue:").start([broker.sent[0][1]], exchange)

    broker.before_send = overtake
    one.run_once()
    (_, first), (_, last) = broker.sent
    assert float(last.claimed_at) < float(first.claimed_at)
    assert client.zrange("queue:", 0, -1) == [last.claimed_at.encode()]


def test_batch_that_is_late_before_it_is_sent_is_handed_back(build, schedule, broker, client):
    schedule.put_rows({"1": (100, 0)})
    with pytest.raises(TimeoutError, match=r"stood still for over 0\.25 of the shortest lease"):
        build(lease_s=1e-6).run_once()
    assert broker.sent == []
    assert client.zcard("queue:") == 0
    assert client.zscore("schedule:", "1") <= client.time()[0] + 1
    assert client.exists("failures:") == 0


def test_batch_that_was_sent_late_is_on_the_list_again(build, schedule, broker, client, monkeypatch):
    schedule.put_rows({"1": (100, 0)})
    now = time.monotonic()

    def stand_still():
        client.delete("queue:")
        monkeypatch.setattr(dispatch.time, "monotonic", lambda: now + 100)

    broker.before_send = stand_still
    build().run_once()
    assert client.zrange("queue:", 0, -1, withscores=True) == [
        (broker.sent[0][1].claimed_at.encode(), float(broker.sent[0][1].claimed_at))
    ]


def test_batch_that_was_not_sent_is_not_on_the_list(build, schedule, broker, client):
    client.zadd("delay:", {"x" * 2000: 10})
    client.zadd("schedule:", {"x" * 2000: 1})
    build().run_once()
    schedule.put_rows({"1": (100, 0)})
    broker.error = OSError("broker is away")
    with pytest.raises(OSError, match="broker is away"):
        build().run_once()
    assert client.zcard("queue:") == 0


def test_batch_sent_after_the_queue_was_seen_empty_is_not_forgotten(build, client, schedule, broker):
    batches, dispatcher = SentBatches(client, "queue:"), build(lease_s=0.03)
    dispatcher._pressures.by_queue["queue:"].unstarted = 0  # as after a claim, which would be late here
    schedule.put_rows({"1": (100, 0)})
    client.zadd("queue:", {"lost": batches.now() - 20})

    def send():
        sent_at = batches.now()
        client.zadd("queue:", {"sent meanwhile": sent_at})
        wait_until(lambda: batches.now() > sent_at + 0.02, "half a lease is over")

    broker.after_look = send
    dispatcher.run_once()
    assert client.zrange("queue:", 0, -1) == [b"sent meanwhile"]


def test_sleep_returns_early_when_woken_and_on_time_when_not(client):
    wakeup = Wakeup(client, ["wake:"])
    assert wakeup.wait(0.01) is None
    threading.Timer(0.05, client.rpush, ("wake:", "1")).start()
    started = time.monotonic()
    assert wakeup.wait(20) == "wake:"
    assert time.monotonic() - started < 19
    wakeup.close()


def test_sleep_survives_the_loss_of_its_connection(client):
    wakeup = Wakeup(client, ["wake:"])
    wakeup.wait(0.01)
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert wakeup.wait(0.05) is None
    client.rpush("wake:", "1")
    assert wakeup.wait(20) == "wake:"
    wakeup.close()


def test_flood_of_wakes_is_cut_off(client):
    client.rpush("wake:", *["1"] * 5000)
    wakeup = Wakeup(client, ["wake:"])
    assert sum(wakeup.wait(0.5) is not None for _ in range(120)) < 120
    assert client.llen("wake:") == 0
    wakeup.close()


def test_row_id_too_long_for_a_message_is_recorded_and_the_others_are_sent(build, schedule, broker, client):
    long = "é" * 600
    client.zadd("delay:", {long: 10, "1": 10, "x" * 1024: 10})
    client.zadd("schedule:", {long: 1, "1": 2, "x" * 1024: 3})
    build().run_once()
    assert broker.rows == ["1", "x" * 1024]
    assert b"row id of 1,200 bytes: allowed are 1,024" in client.hget("failures:", long)
    assert client.zscore("schedule:", long) > client.time()[0], "and tried again later"


def test_every_table_gets_its_turn(build, client, broker):
    tables = [Schedule(client, Table(name, name, namespace=name)) for name in ("a", "b")]
    for one in tables:
        one.put_rows({str(n): (100, 0) for n in range(20)})
    dispatcher = build(tables)
    dispatcher.run_once()
    assert [table for table, _ in broker.sent] == ["a", "b"]


def test_rows_of_two_dispatchers_are_disjoint(build, schedule, broker):
    schedule.put_rows({str(n): (100, 0) for n in range(500)})
    dispatchers = [build(max_queue=1000), build(max_queue=1000)]
    threads = [threading.Thread(target=run_until, args=(one, lambda: len(broker.rows) >= 500)) for one in dispatchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert sorted(map(int, broker.rows)) == list(range(500))
