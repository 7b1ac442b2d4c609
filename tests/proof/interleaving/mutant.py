"""Scripts with one check taken out. A program must find each of them, or the programs prove nothing."""

from dataclasses import dataclass

from rowcache_tasks.schedule.script import Script, load_script
from rowcache_tasks.schedule.scripts import read_source

from .world import World


@dataclass(frozen=True)
class Mutant:
    """One script with one piece of text replaced."""

    script: str
    old: str
    new: str
    program: str
    """Of SMALL: the one that finds it."""

    def __str__(self):
        return f"{self.script}: {' '.join(self.old.split())[:60]}"

    def infect(self, client, table):
        """Give a world that runs this script; all others are as they are."""
        text = read_source(self.script)
        assert text.count(self.old) == 1, f"{self.script} has {text.count(self.old)} times {self.old!r}"
        mutant = Script(text.replace(self.old, self.new))
        return World(client, table, lambda name: mutant if name == self.script else load_script(name))


REQUEST = "two refreshes, a change and a request"
HELD = "a lease that lasts, a change and a request"
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
CLOCK_DELETED = "the clock steps back while a row is away"
CLOCK_CHANGES = "the clock steps back over changes of the schedule"
HAND = "a refresh by hand"
FILL = "a fill while the row is refreshed for the first time"
FILL_OLD = "a fill of a value that is too old"
FILL_TWICE = "two fills of a row that is not scheduled"
FILL_LATE = "a fill that takes too long"
FILL_DROP = "a fill that schedules, a drop and a put"
FILL_CHANGES = "a fill that schedules, and changes enqueued before"
FILL_FOREIGN = "a fill while a foreign client drops and puts"
FILL_REMOVED = "a fill while a foreign client removes the delay"
FILL_ABSENT = "a fill of a row that is not there"
FILL_DELETED = "a fill of a row that was deleted, while it is refreshed"
FILL_FAILING = "a fill of a row that cannot be refreshed"
FILL_CLOCK = "a fill while the clock steps back"

FENCE = "not fences[i] or tonumber(fences[i]) >= claimed_at or claimed_at > now then"
OLDER = "tonumber(fences[i]) >= claimed_at or claimed_at > now then"

MUTANTS = [
    # claim
    Mutant("claim_rows", "'-inf', now, 'BYSCORE'", "'-inf', '+inf', 'BYSCORE'", HELD),
    Mutant("claim_rows", "tonumber(delays[i] or 0) > 0", "true", FOREIGN),
    Mutant("claim_rows", "tonumber(delays[i] or 0) > 0", "delays[i]", FOREIGN),
    Mutant("claim_rows", "tonumber(delays[i] or 0) > 0", "tonumber(delays[i] or 1) > 0", REMOVED),
    Mutant("claim_rows", "redis.call('ZADD', schedule, unpack(leases))", "", HELD),
    Mutant("claim_rows", "redis.call('ZADD', refreshed, 'LT', unpack(fences))", "", REQUEST),
    Mutant("claim_rows", "refreshed, 'LT'", "refreshed, 'NX'", CLOCK),
    Mutant("claim_rows", "refreshed, 'LT'", "refreshed, 'XX', 'LT'", REQUEST),
    Mutant("claim_rows", "now - 5e-7", "now", REQUEST),
    Mutant("claim_rows", "redis.call('DEL', unpack(values))", "", FOREIGN),
    Mutant("claim_rows", "redis.call('HDEL', failures, unpack(gone))", "", FAILING),
    Mutant("claim_rows", "{refreshed, delay, schedule}", "{delay, schedule}", FOREIGN),
    Mutant("claim_rows", "{refreshed, delay, schedule}", "{refreshed, delay}", FOREIGN),
    # lease
    Mutant("lease_rows", "tonumber(delays[i] or 0) > 0", "true", "a refresh by hand of a row that was dropped"),
    Mutant("lease_rows", "redis.call('ZADD', refreshed, 'LT', unpack(fences))", "", HAND),
    Mutant(
        "lease_rows",
        "redis.call('ZADD', refreshed, 'LT', unpack(fences))",
        "redis.call('ZADD', refreshed, unpack(fences))",
        HAND,
    ),
    # commit
    Mutant("commit_rows", "if tonumber(delay_s) <= 0 then", "if false then", FOREIGN),
    Mutant("commit_rows", "delays[i] or '0', at", "delays[i] or '1', at", REMOVED),
    Mutant("commit_rows", f"elseif {FENCE}", f"elseif fences[i] and ({OLDER[:-5]}) then", LATE),
    Mutant("commit_rows", f"elseif {FENCE}", "elseif not fences[i] or claimed_at > now then", REQUEST),
    Mutant("commit_rows", f"elseif {FENCE}", "elseif not fences[i] or tonumber(fences[i]) >= claimed_at then", CLOCK),
    Mutant("commit_rows", "cached[i + 1] ~= value", "true", REQUEST),
    Mutant("commit_rows", "if ours[row_id] then", "if true then", HELD),
    Mutant("commit_rows", "schedule, lease_until, lease_until,", "schedule, '-inf', '+inf',", HELD),
    Mutant(
        "commit_rows",
        "delays[i] or '0', at\n",
        "delays[i] or '0', string.format('%.17g', claimed_at + (delays[i] or 0))\n",
        REQUEST,
    ),
    Mutant(
        "commit_rows",
        "if #fresh > 0 then redis.call('ZADD', refreshed, unpack(fresh));",
        "if #fresh > 0 then",
        REQUEST,
    ),
    Mutant("commit_rows", "redis.call('HDEL', failures, unpack(committed))", "", FAILING),
    Mutant("commit_rows", "#committed < count and redis.call('LLEN', wake) < 4", "#committed < count", DROP),
    # miss
    Mutant("miss_rows", "tonumber(delays[i] or 0) <= 0", "false", ABSENT_REMOVED),
    Mutant("miss_rows", f"elseif {FENCE}", f"elseif fences[i] and ({OLDER[:-5]}) then", ABSENT_LATE),
    Mutant("miss_rows", f"elseif {FENCE}", "elseif not fences[i] or claimed_at > now then", DELETED),
    Mutant(
        "miss_rows", f"elseif {FENCE}", "elseif not fences[i] or tonumber(fences[i]) >= claimed_at then", CLOCK_DELETED
    ),
    Mutant("miss_rows", "redis.call('DEL', value_prefix .. row_id)", "", DELETED),
    Mutant("miss_rows", "redis.call('ZADD', refreshed, now, row_id)", "", DELETED),
    Mutant("miss_rows", "tonumber(scores[i] or 'nan') == lease_until, now", "true, now", ABSENT),
    Mutant("miss_rows", "if held and misses >= missing_limit then", "if misses >= missing_limit then", ABSENT_TWICE),
    Mutant("miss_rows", "if held and misses >= missing_limit then", "if held then", DELETED),
    # release
    Mutant(
        "release_rows", "if tonumber(scores[i] or 'nan') == tonumber(lease_until) then", "if true then", HANDED_BACK
    ),
    Mutant("release_rows", "tonumber(delays[i] or 0) > 0", "true", FAILING),
    Mutant("release_rows", "message ~= '' and ", "", HANDED_BACK),
    # drop
    Mutant("drop_rows", "newest <= stamp or newest > now", "true", ORDER),
    Mutant("drop_rows", "newest <= stamp or newest > now", "newest <= stamp", CLOCK_CHANGES),
    Mutant("drop_rows", "newest <= stamp or newest > now", "newest > now", DROP),
    Mutant("drop_rows", "redis.call('DEL', unpack(values))", "", DROP),
    Mutant("drop_rows", "redis.call('HDEL', failures, unpack(applied))", "", "a drop of a row that cannot be read"),
    Mutant("drop_rows", "redis.call('ZREM', refreshed, unpack(applied))", "", DROP),
    Mutant("drop_rows", "redis.call('ZREM', schedule, unpack(applied))", "", DROP),
    Mutant("drop_rows", "redis.call('ZREM', delay, unpack(applied))", "0", DROP),
    Mutant("drop_rows", "redis.call('ZADD', changed, unpack(marks))", "", LAST_DROP),
    # put
    Mutant("put_rows", "newest <= stamp or newest > now", "true", LAST_DROP),
    Mutant("put_rows", "newest <= stamp or newest > now", "newest <= stamp", CLOCK_CHANGES),
    Mutant("put_rows", "redis.call('ZADD', changed, unpack(marks))", "", ORDER),
    Mutant("put_rows", "redis.call('ZADD', schedule, unpack(due))", "", DROP),
    # touch
    Mutant("touch_rows", "tonumber(delays[i] or 0) > 0", "true", "a request for a row that was dropped"),
    Mutant("touch_rows", "redis.call('ZADD', schedule, unpack(due))", "", HELD),
    Mutant("touch_rows", "table.insert(outdated, value_prefix .. row_id)", "", FILL_TWICE),
    Mutant("touch_rows", "table.insert(outdated, fill_prefix .. value_prefix .. row_id)", "", FILL_TWICE),
    # begin of a fill
    Mutant("begin_fill", "if not notes[i] then redis", "if true then redis", FILL_TWICE),
    Mutant("begin_fill", "(age_s or math.huge) <= max_age_s", "true", FILL_OLD),
    Mutant("begin_fill", "(age_s or math.huge) <= max_age_s", "false", FILL),
    Mutant("begin_fill", "if notes[i] == '-' and cached[i] then notes[i] = nil end", "", FILL_ABSENT),
    Mutant("begin_fill", "redis.call('ZADD', refreshed, now - 5e-7, row_id)", "", FILL_CLOCK),
    # end of a fill
    Mutant("end_fill", "notes[i] ~= token", "false", FILL_DROP),
    Mutant("end_fill", "notes[i] ~= token", "not notes[i]", FILL_LATE),
    Mutant("end_fill", "is_old or tonumber(fences[i] or '-inf') >= began or", "is_old or", FILL_OLD),
    Mutant("end_fill", "is_old = began > now or", "is_old =", FILL_CLOCK),
    Mutant("end_fill", "tonumber(delays[i] or 1) <= 0", "false", FILL_FOREIGN),
    Mutant("end_fill", "row.\n    ended[#ended + 1] = fills[i]", "row.", FILL_OLD),
    Mutant("end_fill", "gone[#gone + 1] = values[i];", "", FILL_DELETED),
    Mutant("end_fill", "add(absent, string.format('%.17g', now), refreshed, 'XX')", "", FILL_DELETED),
    Mutant("end_fill", "if not delays[i] then", "if true then", FILL_OLD),
    Mutant("end_fill", "add(new, began_at, changed, 'GT');", "", FILL_CHANGES),
    Mutant("end_fill", "add(new, delay_s, delay)", "", FILL_CHANGES),
    Mutant("end_fill", "add(new, string", "add({}, string", FILL_CHANGES),
    Mutant("end_fill", "add(filled, string.format('%.17g', now), refreshed);", "", FILL_OLD),
    Mutant("end_fill", "redis.call('HDEL', failures, unpack(filled));", "", FILL_FAILING),
    Mutant("end_fill", "row_id; ended[#ended + 1] = fills[i]", "row_id", FILL_OLD),
    # what drops must do for fills
    Mutant("drop_rows", "table.insert(values, fill_prefix .. value_prefix .. row_id)", "", FILL_DROP),
    Mutant("claim_rows", "table.insert(values, fill_prefix .. value_prefix .. row_id)", "", FILL_REMOVED),
    # repair
    Mutant("repair_rows", "redis.call('ZADD', schedule, unpack(due))", "", CLOCK),
]
