"""World of two rows of a table that is divided in two, or grows from one part to two: look, restore, settle."""

import json
from dataclasses import dataclass, field, replace

from rowcache_tasks.config.settings import Table
from rowcache_tasks.reader.fill.scripts import FillScripts
from rowcache_tasks.reader.options import ReadThrough
from rowcache_tasks.schedule.growth import Growth
from rowcache_tasks.schedule.layout import note_layout
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.script import load_script

from . import world
from .divided_program import LARGE_DIVIDED, SMALL_DIVIDED
from .world import DELAY, LONG

ROWS = {"a": "42", "b": "44"}
"""Name in steps -> row id; each is in another part."""
TABLE = Table("inv", "inventory", partitions=2, growing_from=1)
PLACES = {"one": TABLE.parts[0], "two": TABLE.parts[1], "old": TABLE.old}
NEW = {name: TABLE.part_of(row_id) for name, row_id in ROWS.items()}
NAMES = ("schedule", "delay", "refreshed", "changed", "failures", "wake", "state", "expiring")
KEYS = [
    "layout:",
    *(getattr(part.keys, name) for part in PLACES.values() for name in NAMES),
    *(part.keys.value(row_id) for part in PLACES.values() for row_id in ROWS.values()),
    *(b"fill:" + PLACES["old"].keys.value(row_id) for row_id in ROWS.values()),
]
QUEUES = [part.keys.queue for part in PLACES.values()]
SCORES = ("schedule", "delay", "changed")

OBSERVE = """
local dumps, scores, values, count = {}, {}, {}, tonumber(ARGV[1])
for i, key in ipairs(KEYS) do dumps[i] = redis.call('DUMP', key) end
for i = 2, count + 1 do scores[i - 1] = redis.call('ZMSCORE', ARGV[i], '42', '44') end
for i = count + 2, #ARGV do values[i - count - 1] = redis.call('GET', ARGV[i]) end
return {dumps, scores, values, redis.call('TIME')}
"""
RESTORE = """
redis.call('DEL', unpack(KEYS))
for i, key in ipairs(KEYS) do
    if ARGV[i] and ARGV[i] ~= '' then redis.call('RESTORE', key, 0, ARGV[i]) end
end
"""
ASKED = [
    *(getattr(part.keys, name) for part in PLACES.values() for name in SCORES),
    *(part.keys.value(row_id) for part in PLACES.values() for row_id in ROWS.values()),
]


@dataclass
class Row:
    """Expected state of a row."""

    changes: dict[float, tuple[float | None, bool]] = field(default_factory=dict)
    """Stamp of a change -> the delay, None for a drop; whether the change is complete."""
    asked: int = -1
    """The version at the last request for a refresh that was answered: the value in the end must not be older."""
    seen: int = -1
    """The newest version that readers have seen."""
    cached: int | None = None
    """The version that readers see."""
    misses: int = 0
    """How often it was not cached any more."""
    is_half: bool = False
    """Whether a foreign client has written one of its two keys."""
    late: frozenset[float] = frozenset()
    """Stamps of changes at the old place, which are complete when the row is moved."""

    @property
    def delay(self):
        """The delay after all changes, None for a row that is not wanted; `...` while a change is under way."""
        done = [stamp for stamp, (_, is_complete) in self.changes.items() if is_complete]
        newest = max(done, default=0.0)
        if any(stamp > newest for stamp in self.changes):
            return ...
        return self.changes[newest][0] if done else None


@dataclass
class DividedModel:
    """Both rows, and what processes hold between their steps."""

    version: int = 1
    exists: bool = True
    rows: dict[str, Row] = field(default_factory=lambda: {name: Row() for name in ROWS})
    work: dict[str, dict] = field(default_factory=dict)
    """Actor -> what it holds."""
    leases: frozenset[float] = frozenset()
    is_moving: bool = False

    def copy(self):
        rows = {name: replace(row, changes=dict(row.changes)) for name, row in self.rows.items()}
        return replace(self, rows=rows, work={actor: dict(work) for actor, work in self.work.items()})


class DividedWorld:
    """The real state in Redis, and the expected state in `model`."""

    def __init__(self, client, load=load_script):
        self.client = client
        self.growth = Growth(client, TABLE, load)
        self.places = {name: Schedule(client, part, load) for name, part in PLACES.items()}
        self.old_fill = FillScripts(PLACES["old"], ReadThrough(ttl=DELAY / 2, missing_ttl=DELAY, timeout=DELAY), load)
        self._observing, self._restoring = client.register_script(OBSERVE), client.register_script(RESTORE)
        client.flushdb()
        self.model = DividedModel()
        self.began = self.now()

    def now(self):
        seconds, microseconds = self.client.time()
        return seconds + microseconds / 1e6

    def begin(self):
        note_layout(self.client, self.growth.new, {"from": 1, "moving": True})
        self.model.is_moving = True

    def place_of(self, name):
        """Return the schedule of the new place of a row."""
        return self.places["one" if NEW[name] == PLACES["one"] else "two"]

    def value(self):
        return json.dumps({"v": self.model.version}).encode()

    # States

    def look(self):
        """Check the guarantees as far as they hold at every moment; return the state, for `restore`."""
        dumps, scores, values, (seconds, microseconds) = self._observing(keys=KEYS, args=[len(PLACES) * 3, *ASKED])
        self.seen_at = int(seconds) + int(microseconds) / 1e6
        self.found = {}
        for n, (name, row) in enumerate(self.model.rows.items()):
            for m, place in enumerate(PLACES):
                due, delay, stamp = (None if s[n] is None else float(s[n]) for s in scores[3 * m : 3 * m + 3])
                value = values[len(ROWS) * m + n]
                self.found[name, place] = due, delay, stamp, None if value is None else json.loads(value)["v"]
            self._check(name, row)
        return dumps, self.model.copy()

    def _check(self, name, row):
        new = "one" if NEW[name] == PLACES["one"] else "two"
        here, there = self.found[name, new], self.found[name, "old"]
        assert self.found[name, "two" if new == "one" else "one"] == (None,) * 4, "a row is at the place of another"
        delay = row.delay
        if delay not in (None, ...):
            wanted = [due for due, found, *_ in (here, there) if (found or 0) > 0]
            assert wanted, "G1: the delay of a wanted row is lost"
            assert any(due is not None for due, *_ in (here, there)), "G1: a wanted row is lost"
        cached = there[3] if here[3] is None else here[3]
        if cached is not None:
            assert cached >= row.seen, "G3: the value went back"
            row.seen = cached
        assert delay is not None or cached is None or row.cached is not None, "G5: a dropped row was written"
        row.misses += cached is None and row.cached is not None
        row.cached = cached

    def restore(self, state):
        """Put everything back to how it was; the time goes on."""
        dumps, model = state
        self._restoring(keys=[*KEYS, *QUEUES], args=[dump or b"" for dump in dumps])
        self.model = model.copy()

    # The end of all histories

    def settle(self):
        """Let every process die; a mover, a dispatcher and a worker do the rest. Check what is left. After look()."""
        if self.model.is_moving:
            self.growth.move(ROWS.values())
            for row in self.model.rows.values():
                row.changes |= {stamp: (row.changes[stamp][0], True) for stamp in row.late}
            self.look()
        for name, row_id in ROWS.items():
            for place, schedule in self.places.items():
                if self.found[name, place][0] in self.model.leases:
                    self.client.zadd(schedule.table.keys.schedule, {row_id: 0}, xx=True)
        self._refresh_until_nothing_is_due()
        for name, row in self.model.rows.items():
            self._check_rest(name, row)

    def _refresh_until_nothing_is_due(self):
        for _ in range(5):
            claims = [(schedule, schedule.claim_rows(10, LONG)[0]) for schedule in self.places.values()]
            for schedule, claim in claims:
                if claim.row_ids:
                    outcome = schedule.commit_rows(claim, dict.fromkeys(claim.row_ids, self.value()))
                    assert not outcome.superseded, "a refresh is refused, although there is no other"
            self.look()
            if not any(claim.row_ids for _, claim in claims):
                return
        raise AssertionError("a row that was refreshed is due again at once")

    def _check_rest(self, name, row):
        new = "one" if NEW[name] == PLACES["one"] else "two"
        found, other = self.found[name, new], self.found[name, "old"]
        if self.model.is_moving:
            assert other == (None,) * 4, f"a row that has moved left something behind: {other}"
        else:
            found = other if found == (None,) * 4 else found
        due, delay, _, cached = found
        if row.is_half:
            return
        if row.delay is ...:
            assert (due is None) == (delay is None), "half of a change is left"
            assert (due is None) == (cached is None), "a value is left, or never written"
        elif row.delay is None:
            assert (due, delay, cached) == (None, None, None), f"G5: an unwanted row is never removed: {found}"
        else:
            assert delay == row.delay, f"G6: the last change is not the one that stands: {delay}"
            assert cached is not None, "the row is never cached"
            assert cached >= row.asked, "G4: what is cached is older than the request"
            assert self.seen_at < due <= self.seen_at + DELAY, (
                "the row is refreshed earlier or later than after its delay"
            )


def open_world(program, client, load=load_script):
    """Return the world of a program, by its name."""
    if program in SMALL_DIVIDED or program in LARGE_DIVIDED:
        return DividedWorld(client, load)
    return world.World(client, world.TABLE, load)
