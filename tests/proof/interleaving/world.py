"""World of one row on a real server: look, restore a state, settle."""

import json
from dataclasses import replace

from rowcache_tasks.config.settings import Table
from rowcache_tasks.config.table import Adaptive
from rowcache_tasks.reader.fill.scripts import FillScripts
from rowcache_tasks.reader.options import ReadThrough
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.schedule.script import load_script

from .model import Model

ROW = "42"
DELAY = 3600.0
TABLE = Table("inv", "inventory", missing_limit=2, adaptive=Adaptive(1000, DELAY))
REPLICATED = replace(TABLE, replica=True)
LONG = 1e6
"""A lease that does not end by itself, in seconds. One of 0 has ended as soon as anybody else looks."""
LATER = 1800.0
"""Until a row of a burst is due, in seconds."""
PAUSE = 3000.0
"""After a failure, in seconds, less up to half by chance."""
HOUR = 3600.0
TIMES = ("schedule:", "refreshed:", "changed:")
FILL = f"fill:inv:{ROW}"
KEYS = (*TIMES, "delay:", "failures:", "wake:", "state:", "position:", f"inv:{ROW}", FILL)

# In one command each, since most of the time goes into these.
OBSERVE = f"""
local dumps = {{}}
for i, key in ipairs(KEYS) do dumps[i] = redis.call('DUMP', key) end
local function score(key) return redis.call('ZSCORE', key, '{ROW}') end
return {{dumps, score('schedule:'), score('delay:'), score('refreshed:'), redis.call('GET', 'inv:{ROW}'),
    redis.call('HGET', 'failures:', '{ROW}'), redis.call('LLEN', 'wake:'), redis.call('TIME')}}
"""
RESTORE = """
redis.call('DEL', 'queue:', unpack(KEYS))
for i, key in ipairs(KEYS) do
    if ARGV[i] ~= '' then redis.call('RESTORE', key, 0, ARGV[i]) end
end
"""


class World:
    """One row: the real state in Redis, the expected state in `model`. The limit of misses is two."""

    def __init__(self, client, table, load=load_script):
        self.schedule, self.client, self.load = Schedule(client, table, load), client, load
        self.fill = FillScripts(table, ReadThrough(ttl=HOUR / 2, missing_ttl=HOUR, timeout=HOUR), load)
        self._observing, self._restoring = client.register_script(OBSERVE), client.register_script(RESTORE)
        client.flushdb()
        client.rpush("wake:", *"1111")  # as many as there may be: a script that does not look makes it too many
        self.model = Model()
        self.began = self.now()

    def value(self, version):
        return json.dumps({"v": version, "w": 0}).encode()

    def now(self):
        seconds, microseconds = self.client.time()
        return seconds + microseconds / 1e6

    def score(self, key):
        return self.client.zscore(key, ROW)

    # States

    def look(self):
        """Check the guarantees as far as they hold at every moment; return the state, for `restore`."""
        return self._observe(KEYS), self.model.copy()

    def _observe(self, dumped=()):
        """Check the guarantees and note the state; return the dumps of keys."""
        dumps, *scores, cached, failure, wakes, (seconds, microseconds) = self._observing(keys=dumped)
        due, delay, fence = (None if score is None else float(score) for score in scores)
        self._check(due, delay, fence, cached, failure)
        assert wakes <= 4, "wake: holds more than a few entries"
        self.model.cached = cached
        self.due, self.delay, self.failure = due, delay, failure
        self.seen_at = int(seconds) + int(microseconds) / 1e6
        return dumps

    def _check(self, due, delay, fence, cached, failure):
        model = self.model
        if model.wanted:
            assert delay is not None, "G1: the delay of a wanted row is lost"
            assert due is not None, "G1: a wanted row is lost"
        if not delay or delay < 0:
            assert cached in (None, model.cached), "G5: a dropped row was written"
            if due is None:
                assert (cached, fence, failure) == (None, None, None), "a dropped row has left something behind"
        if cached is not None:
            version = json.loads(cached)["v"]
            assert version >= model.seen, "G3: the value went back"
            model.seen = version

    def restore(self, state):
        """Put everything back to how it was; the time goes on."""
        dumps, model = state
        self._restoring(keys=KEYS, args=[dump or b"" for dump in dumps])
        self.model = model.copy()

    # The end of all histories

    def settle(self):
        """Let every process die: leases end, then one good dispatcher and worker do what is due. Check what is left.

        To be called right after look().
        """
        delay, due = self.delay, self.due
        if self.model.has_stepped and due is not None:
            self.schedule.repair_rows([ROW], 30, Backoff())
            due = self.score("schedule:")
            assert due <= self.now() + DELAY, "a clock that stepped back starves the row"
        if not delay or delay < 0:
            self.client.zadd("schedule:", {ROW: 0}, xx=True)
            self.claim_long()
            self._observe()
            assert self.due is None, "an unwanted row is never removed"
            assert self.model.cached is None, "G5: an unwanted value is never removed"
        elif self.model.wanted:
            is_waiting = due in {*self.model.leases, self.model.later}
            is_waiting = is_waiting or self.failure is not None or self.model.is_retried
            assert is_waiting or due <= self.seen_at + DELAY, "the row is due later than after its delay"
            # No step makes a row due within a second: the clock of the machine itself has stepped back.
            is_ahead = due is not None and self.seen_at < due < self.seen_at + 1
            if is_waiting or is_ahead or self.model.has_stepped:
                self.client.zadd("schedule:", {ROW: 0})
            self._refresh_until_nothing_is_due()
            if self.model.wanted:
                self._check_rest()

    def _refresh_until_nothing_is_due(self):
        for _ in range(6):
            self.model.is_held = False
            claim = self.claim_long()
            if not claim:
                self._observe()
                return
            if self.model.exists:
                outcome = self.schedule.commit_rows(claim, {ROW: self.value(self.model.version)})
            else:
                outcome = self.schedule.miss_rows(claim, [ROW], Backoff())
                self.model.absent = self.model.version
            assert not outcome.superseded, "a refresh is refused, although there is no other"
            if outcome.dropped:
                self.model.wanted = False
            self._observe()
        raise AssertionError("a row that was refreshed is due again at once")

    def _check_rest(self):
        cached, due = self.model.cached, self.due
        version = self.model.absent if cached is None else json.loads(cached)["v"]
        seen = f"{cached!r}, due {self.due!r}, seen at {self.seen_at!r}"
        assert version >= self.model.asked, f"G4: what is cached is older than the request: {seen}"
        if cached is not None:
            assert due > self.seen_at + PAUSE / 4, "the row is refreshed before it is due"
        assert due <= self.seen_at + DELAY, "the row is refreshed later than after its delay"

    def claim_long(self):
        claim, _ = self.schedule.claim_rows(10, LONG)
        return claim if claim.row_ids else None

    # The clock

    def move_clock(self, seconds):
        """Let the server's clock make a step: move all other times, also those in flight, the other way."""
        for key in TIMES:
            time = self.score(key)
            if time is not None:
                self.client.zadd(key, {ROW: time - seconds})
        for field in ("clock", "committed_at", "unleased_at"):
            noted = self.client.hget("state:", field)
            if noted is not None:
                self.client.hset("state:", field, format(float(noted) - seconds, ".17g"))
        model = self.model
        model.leases = frozenset(lease - seconds for lease in model.leases)
        model.stamp -= seconds
        model.later -= seconds
        model.is_held = False
        model.epoch += 1
        model.has_stepped = model.has_stepped or seconds < 0
        for work in model.work.values():
            times = (format(float(t) - seconds, ".17g") for t in (work.claim.claimed_at, work.claim.lease_until))
            claimed_at, lease_until = times
            work.claim = replace(work.claim, claimed_at=claimed_at, lease_until=lease_until)
        for fill in model.fills.values():
            fill.begun = replace(fill.begun, began_at=format(float(fill.begun.began_at) - seconds, ".17g"))
