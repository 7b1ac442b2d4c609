"""Mutants: scripts with one mark applied. A program must find each.

A mark is a comment above the line of Lua that it changes, other comments between them: `-- mutant: NAME` takes the line
out, `-- mutant: NAME -> TEXT` puts TEXT in its place. A mark of a fragment is one of every script that includes it.
"""

import re
from dataclasses import dataclass
from functools import cache

from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.script import Script, load_script
from rowcache_tasks.schedule.scripts import read_source

from .divided_world import open_world

MARK = re.compile(r"\s*-- mutant: (?P<name>[\w-]+)(?: -> (?P<text>.*))?")
COMMENT = re.compile(r"\s*--")


def mutate(source):
    """Return the mutants of a source: name of the mark -> source with the mark applied."""
    lines, found = source.splitlines(), {}
    for place, line in enumerate(lines):
        if mark := MARK.fullmatch(line):
            target = next(n for n in range(place, len(lines)) if not COMMENT.match(lines[n]))
            assert mark["name"] not in found, f"two marks {mark['name']}"
            found[mark["name"]] = "\n".join([*lines[:target], mark["text"] or "", *lines[target + 1 :]])
    return found


@dataclass(frozen=True)
class Mutant:
    """One mark of one script."""

    script: str
    name: str
    program: str = ""
    """Of SMALL: the one that finds it."""

    def __str__(self):
        return f"{self.script}: {self.name}"

    def infect(self, client):
        """Return a world that runs the mutant; all other scripts are as they are."""
        return open_world(self.program, client, self._load)

    def schedule(self, client, table):
        """Return the schedule of a table that runs the mutant."""
        return Schedule(client, table, self._load)

    def _load(self, name):
        return load_mutant(name, self.name) if name == self.script else load_script(name)


@cache
def load_mutant(script, name):
    """Return a script with a mark applied."""
    return Script(mutate(read_source(script))[name])


REQUEST = "two refreshes, a change and a request"
REQUEST_CACHED = "two refreshes of a cached row, a change and a request"
HELD = "a lease that lasts, a change and a request"
HELD_LATER = "a lease that lasts, a change and a request that lets it wait"
LATE = "a drop and a put between a read and its commit"
DROP = "a drop and a put while refreshes are in flight"
FOREIGN = "a foreign client drops and puts"
REMOVED = "a foreign client removes the delay"
FAILING = "a row that cannot be read"
HANDED_BACK = "a batch that is handed back"
DELETED = "a row that is deleted and comes back"
ABSENT = "a row that is not there and asked for"
ABSENT_TWICE = "a row that is not there for the second time"
ABSENT_REMOVED = "a foreign client removes the delay of a row that is not there"
ABSENT_LATE = "a drop and a put between the read of an absence and its commit"
ORDER = "changes of the schedule that arrive in any order"
LAST_DROP = "changes of the schedule, the last one a drop"
CLOCK = "the clock steps back"
CLOCK_REQUESTS = "requests after a step back"
CLOCK_DELETED = "the clock steps back while a row is away"
CLOCK_CHANGES = "the clock steps back over changes of the schedule"
OUTLAST = "a refresh outlasts a step back"
OUTLAST_TWICE = "two refreshes outlast a step back"
OUTLAST_AWAY = "two refreshes of a row that is away outlast a step back"
OUTLAST_BY_HAND = "a refresh by hand outlasts a step back"
OUTLAST_HAND = "a refresh outlasts a step back, and one by hand"
OUTLAST_CHECK = "a refresh outlasts a step back that a dispatcher notes"
OUTLAST_FILL = "a refresh outlasts a step back, and a fill"
FILL_OUTLASTS = "a fill outlasts a step back"
HAND = "a refresh by hand"
HAND_CLOCK = "a refresh by hand after a step back"
HAND_TWICE = "a refresh by hand that is delivered twice, and a lease as long as the delay"
TWICE = "a message that is delivered twice, and a lease as long as the delay"
DELETED_ASKED = "a row that is deleted and asked for"
FILL_BACK = "a fill of a row that comes back, while it is refreshed"
FILL = "a fill while the row is refreshed for the first time"
FILL_OLD = "a fill of a value that is too old"
FILL_TWICE = "two fills of a row that is not scheduled"
FILL_LATE = "a fill that takes too long"
FILL_DROP = "a fill that schedules, a drop and a put"
FILL_CHANGES = "a fill that schedules, and changes enqueued before"
FILL_FOREIGN = "a fill while a foreign client drops and puts"
FILL_PUT = "a fill while a foreign client puts the row"
FILL_REMOVED = "a fill while a foreign client removes the delay"
FILL_ABSENT = "a fill of a row that is not there"
FILL_DELETED = "a fill of a row that was deleted, while it is refreshed"
FILL_FAILING = "a fill of a row that cannot be refreshed"
FILL_CLOCK = "a fill while the clock steps back"
FILL_LOST = "a fill of a row that comes back, and the state of the table is lost"
REPLICAS = "a row is read from two replicas, one of which is behind"
REPLICA_BEHIND = "a row that has changed is asked for while the replica is behind"
KNOWN = "a row with the version of its cached value"
MOVED = "a row is moved while it is refreshed"
MOVED_HAND = "a row is moved while it is refreshed by hand"
MOVED_FILL = "a row is moved while a reader with old settings fills it"
MOVED_READ = "a row is moved while a reader asks for it"
MOVED_CHANGED = "a row that has changed is refreshed before its old place is left"
MOVED_DROP = "a row without a stamp is moved while it is dropped"
MOVED_LATE = "a drop that is older than a change of a row that is moved"
MOVED_FOREIGN_DROP = "a foreign client drops a row that is moved, by its old keys"
MOVED_FOREIGN = "a foreign client asks for a row that is moved, by its old keys"
MOVED_OLD_DROP = "a process with old settings drops a row that is moved"
MOVED_OLD_PUT = "a process with old settings is late with a change of a row that was dropped"

FOUND_BY = {
    "claim_rows": {
        "one-epoch": OUTLAST,
        "no-note": OUTLAST,
        "claim-all": HELD,
        "claim-dropped": FOREIGN,
        "claim-any-delay": FOREIGN,
        "claim-without-delay": REMOVED,
        "no-lease": HELD,
        "keep-future-fence": CLOCK_REQUESTS,
        "lower-fence": REQUEST_CACHED,
        "fence-at-claim": CLOCK_REQUESTS,
        "lease-ends-as-rows-are-due": TWICE,
        "keep-value": FOREIGN,
        "keep-failure": FAILING,
        "keep-fence": FOREIGN,
        "keep-due": FOREIGN,
        "keep-fill": FILL_REMOVED,
    },
    "lease_rows": {
        "one-epoch": OUTLAST_HAND,
        "no-note": OUTLAST_BY_HAND,
        "claim-dropped": "a refresh by hand of a row that was dropped",
        "claim-closed": MOVED_HAND,
        "keep-future-fence": HAND_CLOCK,
        "lower-fence": HAND,
        "fence-at-claim": HAND_CLOCK,
        "lease-ends-as-rows-are-due": HAND_TWICE,
    },
    "commit_rows": {
        "write-beginning": KNOWN,
        "confirm-any": KNOWN,
        "one-epoch": OUTLAST_TWICE,
        "write-dropped": FOREIGN,
        "commit-without-delay": REMOVED,
        "write-after-drop": LATE,
        "trust-lease": FILL_OLD,
        "trust-lost-state": FILL_LOST,
        "no-unleased": HELD,
        "refuse-for-ever": REQUEST,
        "write-older": REQUEST,
        "trust-clock": CLOCK,
        "write-unchanged": REQUEST,
        "adapt-others": HELD,
        "unbounded": REQUEST_CACHED,
        "overrule": HELD,
        "any-lease": HELD,
        "refused-is-due-later": REQUEST_CACHED,
        "no-fence": REQUEST_CACHED,
        "keep-failure": FAILING,
        "wake-without-limit": DROP,
    },
    "miss_rows": {
        "one-epoch": OUTLAST_AWAY,
        "write-dropped": ABSENT_REMOVED,
        "write-after-drop": ABSENT_LATE,
        "trust-lease": FILL_BACK,
        "trust-lost-state": FILL_LOST,
        "no-unleased": DELETED_ASKED,
        "write-older": DELETED,
        "trust-clock": CLOCK_DELETED,
        "keep-value": DELETED,
        "no-fence": DELETED,
        "overrule": ABSENT,
        "drop-not-ours": ABSENT_TWICE,
        "drop-at-once": DELETED,
    },
    "release_rows": {
        "overrule": HANDED_BACK,
        "count-dropped": FAILING,
        "count-handed-back": HANDED_BACK,
    },
    "drop_rows": {
        "any-order": ORDER,
        "trust-future-stamp": CLOCK_CHANGES,
        "refuse-later": DROP,
        "keep-value": DROP,
        "keep-failure": "a drop of a row that cannot be read",
        "keep-fence": DROP,
        "keep-due": DROP,
        "keep-delay": DROP,
        "no-stamp": LAST_DROP,
        "keep-fill": FILL_DROP,
    },
    "put_rows": {
        "any-order": LAST_DROP,
        "trust-future-stamp": CLOCK_CHANGES,
        "refuse-later": DROP,
        "no-stamp": ORDER,
        "no-due": DROP,
        "wake-without-limit": DROP,
    },
    "touch_rows": {
        "touch-dropped": "a request for a row that was dropped",
        "keep-lease": HELD_LATER,
        "due-later": HELD_LATER,
        "no-due": HELD,
        "keep-value": FILL_TWICE,
        "keep-fill": FILL_TWICE,
        "wake-without-limit": HELD,
    },
    "begin_fill": {
        "one-epoch": OUTLAST_FILL,
        "no-note": FILL_OUTLASTS,
        "take-others": FILL_TWICE,
        "any-age": FILL_OLD,
        "no-age": FILL,
        "keep-absence": FILL_ABSENT,
        "keep-future-fence": FILL_CLOCK,
    },
    "end_fill": {
        "one-epoch": OUTLAST_FILL,
        "write-cancelled": FILL_DROP,
        "write-for-another": FILL_LATE,
        "write-older": FILL_OLD,
        "trust-clock": FILL_CLOCK,
        "write-closed": MOVED_FILL,
        "write-dropped": FILL_FOREIGN,
        "keep-refused-token": FILL_OLD,
        "keep-value": FILL_DELETED,
        "no-absence-fence": FILL_DELETED,
        "no-unleased": FILL_OLD,
        "reschedule": FILL_OLD,
        "leave-lost": FILL_PUT,
        "no-stamp": FILL_CHANGES,
        "no-delay": FILL_CHANGES,
        "no-due": FILL_CHANGES,
        "no-fence": FILL_OLD,
        "keep-failure": FILL_FAILING,
        "keep-token": FILL_OLD,
    },
    "check_clock": {"one-epoch": OUTLAST_CHECK},
    "check_positions": {"read-early": REPLICA_BEHIND, "forget-reads": REPLICAS, "overrule": REPLICA_BEHIND},
    "repair_rows": {"no-due": CLOCK},
    "give_moved": {
        "stay-open": MOVED_FOREIGN_DROP,
        "stay-unpaused": MOVED_FOREIGN_DROP,
        "same-epoch": MOVED,
        "keep-lease": MOVED,
    },
    "take_moved": {
        "any-order": MOVED_OLD_PUT,
        "ignore-drop": MOVED_OLD_DROP,
        "no-stamp": MOVED_LATE,
        "replace-newer": MOVED_CHANGED,
        "take-unseen": MOVED_DROP,
        "due-as-here": MOVED_FOREIGN,
    },
    "leave_moved": {
        "leave-changed": MOVED_FOREIGN,
        "keep-value": MOVED_READ,
        "keep-due": MOVED_READ,
    },
}
"""Script -> mark -> the program that finds it."""

FOUND_ELSEWHERE = {
    "check_clock": {"ignore-filled", "ignore-gap", "ignore-step"},
    "check_positions": {"wait-for-ever"},
    "claim_rows": {
        *("crowd-out", "ignore-queue", "look-at-all", "look-past-the-cap"),
        *("no-cap", "trust-future-pace", "trust-future-work"),
    },
    "commit_rows": {
        *("always-stay", "early-says-all", "first-is-a-change", "never-stay"),
        *("forget-refused-reads", "forget-slow-reads"),
        *("no-bound", "no-margin", "refuse-first", "write-late"),
    },
    "miss_rows": {"refuse-first", "write-late"},
    "take_moved": {"no-fence"},
}
"""Script -> marks that a test under tests/functional finds and no program: they need several rows, or the queue."""

MUTANTS = [Mutant(script, *found) for script, marks in FOUND_BY.items() for found in marks.items()]
