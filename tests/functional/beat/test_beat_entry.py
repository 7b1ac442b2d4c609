"""Which dispatcher sends an ordinary beat entry, with the real scheduler and schedules and a real server."""

from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from celery.schedules import crontab
from support.lossy_link import LossyLink

from rowcache_tasks.beat import DispatchScheduler
from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.schedule.connection import connect


class Dispatcher(DispatchScheduler):
    """The scheduler without its dispatching; counts what it sends."""

    def setup_schedule(self):
        self.sent = 0
        self._client, self._key = self.app.conf.test_client, "beat:"
        self.merge_inplace(self.app.conf.beat_schedule)

    def apply_async(self, *args, **kwargs):
        self.sent += 1


@pytest.fixture
def build(client):
    app = Celery("test", set_as_current=False)
    app.conf.test_client = client
    return lambda schedule: Dispatcher(make(app, schedule))


def make(app, schedule):
    app.conf.beat_schedule = {"entry": {"task": "a.task", "schedule": schedule}}
    return app


def run(dispatcher, since):
    """Let the entry be due, its last run `since` ago."""
    entry = dispatcher.schedule["entry"]
    entry.last_run_at = datetime.now(UTC) - since
    dispatcher.reserve(entry)
    dispatcher.apply_entry(entry)
    return dispatcher.sent


def test_the_same_run_is_sent_by_one_dispatcher(build):
    first, second = build(timedelta(seconds=10)), build(timedelta(seconds=10))
    assert run(first, timedelta(seconds=10)) == 1
    assert run(second, timedelta(seconds=10)) == 0


def test_entry_with_a_long_pause_behind_a_short_one_is_sent_each_time(build, client):
    """As hour='9,17' is at 17:00: 8 hours after the last run, 16 before the next."""
    hour = (datetime.now(UTC).hour - 1) % 24
    dispatcher = build(crontab(minute="0", hour=f"{hour}"))
    client.hset("beat:", "entry", datetime.now(UTC).timestamp() - 8 * 3600)
    assert run(dispatcher, timedelta(hours=8)) == 1


def test_time_from_a_clock_that_was_ahead_does_not_silence_an_entry(build, client):
    client.hset("beat:", "entry", datetime.now(UTC).timestamp() + 3600)
    assert run(build(timedelta(seconds=10)), timedelta(seconds=10)) == 1


def test_entry_is_sent_once_when_the_reply_to_its_claim_is_lost(build, client, valkey):
    """The client sends a call again whose reply did not come; the server has run it both times."""
    with LossyLink(valkey) as link:
        first = build(timedelta(seconds=10))
        first._client = connect(link.url, "dispatcher")
        first._client.ping()
        link.lose_next_reply()
        assert run(first, timedelta(seconds=10)) == 1
        assert link.lost == 1
        first._client.close()
    assert run(build(timedelta(seconds=10)), timedelta(seconds=10)) == 0


def test_interval_of_an_entry_goes_on_after_a_restart(client, valkey, monkeypatch):
    app = make(Celery("test", broker=valkey.broker_url(8), set_as_current=False), timedelta(hours=1))
    monkeypatch.setattr(
        "rowcache_tasks.beat.scheduler.check_dispatcher",
        lambda _: parse_settings(
            {"rowcache_redis_url": valkey.url_for(9), "rowcache_tables": {"inv": {"table": "inventory"}}}
        ),
    )
    monkeypatch.setattr("rowcache_tasks.beat.scheduler.DispatchLoop", lambda *_: None)
    client.hset("beat:", "entry", client.time()[0] - 3000)
    scheduler = DispatchScheduler(app)
    assert 0 < scheduler.schedule["entry"].is_due()[1] <= 600
    scheduler._client.close()
