"""Random histories of dispatchers, workers, applications and a database over the real scripts, checked at each step.

One row, whose value is a version that only grows. Actors claim, read, commit, release, give up, die; the application
puts, drops and touches; a foreign client writes the ZSETs; leases end at any point. A failing history is printed whole.
"""

import json
import random

import pytest

from rowcache_tasks.schedule import Backoff

ROW = "42"
STEPS = 40
HISTORIES = 400


class History:
    """The state of one history, and its moves."""

    def __init__(self, schedule, client, seed):
        self.schedule, self.client = schedule, client
        self.random = random.Random(seed)
        self.moves = []
        self.version = 0
        self.claims = []
        self.reads = []
        self.is_wanted = False
        self.seen = -1
        client.flushdb()

    def step(self):
        moves = [self.change, self.claim, self.claim, self.read, self.read, self.commit, self.commit, self.release]
        moves += [self.die, self.end_lease, self.put, self.drop, self.touch, self.foreign_put, self.foreign_drop]
        move = self.random.choice(moves)
        self.moves.append(move.__name__)
        move()
        self.check()

    def check(self):
        cached = self.client.get(f"inv:{ROW}")
        delay = self.client.zscore("delay:", ROW)
        if self.is_wanted:
            assert self.client.zscore("schedule:", ROW) is not None, "a scheduled row is never lost"
        if not delay:
            assert cached is None, "a dropped row stays dropped"
        if cached is not None:
            version = json.loads(cached)["v"]
            assert version >= self.seen, "a cached value never goes back, not even over a drop"
            self.seen = version

    def change(self):
        self.version += 1

    def claim(self):
        claim, _ = self.schedule.claim_rows(10, 30)
        if claim.row_ids:
            self.claims.append(claim)

    def read(self):
        if self.claims:
            claim = self.claims.pop(self.random.randrange(len(self.claims)))
            self.reads.append((claim, self.version))

    def commit(self):
        if self.reads:
            claim, version = self.reads.pop(self.random.randrange(len(self.reads)))
            self.schedule.commit_rows(claim, {ROW: json.dumps({"v": version}).encode()})

    def release(self):
        if self.claims:
            claim = self.claims.pop(self.random.randrange(len(self.claims)))
            self.schedule.release_rows(claim, {ROW: self.random.choice(["", "error"])}, Backoff())

    def die(self):
        for work in (self.claims, self.reads):
            if work:
                work.pop(self.random.randrange(len(work)))

    def end_lease(self):
        self.client.zadd("schedule:", {ROW: 1}, xx=True)

    def put(self):
        self.schedule.put_rows({ROW: (3600, 0)})
        self.is_wanted = True

    def drop(self):
        self.schedule.drop_rows([ROW])
        self.is_wanted = False

    def touch(self):
        self.schedule.touch_rows([ROW])

    def foreign_put(self):
        self.client.zadd("delay:", {ROW: 3600})
        self.client.zadd("schedule:", {ROW: self.client.time()[0]})
        self.is_wanted = True

    def foreign_drop(self):
        """Say so as the book does; the next claim carries it out."""
        if self.client.zscore("delay:", ROW):
            self.client.zadd("delay:", {ROW: -1})
            self.client.zadd("schedule:", {ROW: 1})
            claim, _ = self.schedule.claim_rows(10, 30)
            assert claim.row_ids == []
            self.is_wanted = False

    def finish(self):
        """Ask for a refresh; then everything that was in flight ends in any order, and the rest runs its course."""
        self.touch()
        asked = self.version
        while self.claims or self.reads:
            self.random.choice([self.read, self.commit, self.release])()
            self.check()
        for _ in range(10):
            self.claim()
            self.read()
            self.commit()
            self.check()
        if self.is_wanted:
            assert json.loads(self.client.get(f"inv:{ROW}"))["v"] == asked, "what was asked for is cached"
            assert self.client.zscore("schedule:", ROW) > self.client.time()[0] + 3000, "and rests until it is due"


@pytest.mark.parametrize("first_seed", range(0, HISTORIES, 100))
def test_guarantees_hold_in_random_histories(schedule, client, first_seed):
    for seed in range(first_seed, first_seed + 100):
        history = History(schedule, client, seed)
        try:
            for _ in range(STEPS):
                history.step()
            history.finish()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}: {' '.join(history.moves)}") from error
