"""Beat scheduler that dispatches due rows: `celery -A rowcache_tasks beat`, or `worker -B`.

Ordinary beat_schedule entries run as well, each sent by one of the dispatchers. The time of the last run of an entry is
kept in Redis: there is no schedule file, and a restart does not start an interval anew.
"""

import logging
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from celery.beat import ScheduleEntry, Scheduler
from celery.utils.nodenames import gethostname
from celery.utils.time import maybe_make_aware

from rowcache_tasks.beat.loop import MAX_TURN_S, DispatchLoop
from rowcache_tasks.celery.startup import check_dispatcher
from rowcache_tasks.schedule.connection import connect
from rowcache_tasks.schedule.script import ScriptCall, load_script

logger = logging.getLogger(__name__)


class DispatchScheduler(Scheduler):
    """Dispatches rows within tick, between the ordinary entries. Any number may run, without a leader."""

    _loop: DispatchLoop | None = None
    _is_in_tick = False
    _client: "redis.Redis"
    _key: str

    def setup_schedule(self) -> None:
        """Check the configuration and the servers, or exit; then read when the entries were last sent."""
        settings = check_dispatcher(self.app)
        self._client, self._key = connect(settings.redis_url, "dispatcher"), settings.names.beat
        super().setup_schedule()
        for name, entry in self.schedule.items():
            self._read_last_run(name, entry)
        self._loop = DispatchLoop(self.app, settings, self._client, f"beat@{gethostname()}")

    def _read_last_run(self, name: str, entry: ScheduleEntry) -> None:
        """Set the last run of an entry: so long ago by the clock of this process as it is by that of Redis."""
        try:
            sent_at: Any = self._client.hget(self._key, name)
            if sent_at is not None:
                seconds, _ = self._client.time()
                entry.last_run_at = datetime.now(UTC) - timedelta(seconds=int(seconds) - float(sent_at))
        except (redis.RedisError, ValueError, OverflowError) as error:
            logger.warning("beat entry %s starts anew: %s", name, error)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send an ordinary entry if one is due; else dispatch rows until the next is due, for MAX_TURN_S at most."""
        self._is_in_tick = True
        try:
            if self._loop is not None:
                self._loop.begin_turn()
            idle_s = super().tick(*args, **kwargs)
            if idle_s and self._loop is not None:
                self._loop.run(min(idle_s, self.max_interval or MAX_TURN_S))
        finally:
            self._is_in_tick = False
        return 0

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send a due entry unless another dispatcher has just sent it."""
        name = str(entry.name)
        try:
            gap_s = 0.9 * self._pause_s(name, entry)
            arguments = [name, gap_s, secrets.token_hex(8)]
            is_ours = ScriptCall(load_script("claim_entry"), [self._key], arguments).run(self._client)
        except Exception as error:  # noqa: BLE001 as in the base class: no entry may stop beat
            logger.warning("beat entry %s is sent without asking the others: %s", name, error)
            is_ours = True
        if is_ours:
            super().apply_entry(entry, producer=producer)
        else:
            logger.debug("beat entry %s was sent by another dispatcher", name)

    def _pause_s(self, name: str, entry: ScheduleEntry) -> float:
        """Return the shorter of the pauses before and after this run: other dispatchers claim it much closer to it."""
        _, next_in_s = self.schedule[name].is_due()
        last_run_at = maybe_make_aware(entry.last_run_at or entry.default_now())
        return max(0.0, min(next_in_s, (datetime.now(UTC) - last_run_at).total_seconds()))

    def close(self) -> None:
        """Close the connections, but not within a tick: in the signal handler, its socket would raise OSError."""
        super().close()
        if self._loop is not None and not self._is_in_tick:
            self._loop.close()

    @property
    def info(self) -> str:
        """Line of the banner."""
        return "    . schedule -> Redis"
