"""Steps of a mover, of processes with old and new settings, and of a foreign client, on rows of a table that grows."""

from .divided_world import LONG, NEW, ROWS, DividedWorld
from .registry import STEPS, Step, step

CHANGES = {"put_1": 900.0, "put_2": 1800.0, "drop_2": None, "drop_1": None, "put_3": 2700.0, "drop_3": None}
"""Change, with the place of its stamp in their order -> its delay; None: a drop."""


def held(world, actor):
    return world.model.work.setdefault(actor, {})


def steps_of_row(name, row_id):  # noqa: C901 PLR0915 one closure for each step
    """Register the steps for a row."""

    def register(label, run, **touched):
        STEPS[f"{label} {name}"] = Step(run, **{"reads": False, **touched})

    # A mover: each script by itself

    def see(world: DividedWorld, actor):
        work = held(world, actor)
        if not work.get("is_old"):
            work["seen"] = world.growth.look([row_id])

    def give(world, actor):
        work = held(world, actor)
        if "seen" in work:
            work["given"] = {row: facts for row, facts in world.growth.give([row_id]).items() if facts.is_there}

    def take(world, actor):
        work = held(world, actor)
        if work.get("given"):
            work["taken"] = world.growth.take(work["seen"], work["given"])

    def leave(world, actor):
        work = held(world, actor)
        given = work.pop("given", {})
        taken = {row: given[row] for row in work.pop("taken", [])}
        work["is_settled"] = [*given] == world.growth.leave(taken)

    def move(world, _):
        if world.model.is_moving:
            world.growth.move([row_id])

    for run in (see, give, take, leave, move):
        register(run.__name__, run)
    register("give_and_take", lambda world, actor: (give(world, actor), take(world, actor)))

    # A change by a process with the new settings: where the row is

    def ask(world, actor):
        held(world, actor)["is_old"] = not world.growth.is_moving()

    def change_at(world, schedule, change):
        kind, number = change.split("_")
        stamp = str(world.began - 100 + int(number))
        if kind == "put":
            schedule.put_rows({row_id: (CHANGES[change], 0)}, stamp)
        else:
            schedule.drop_rows([row_id], stamp)

    def note(world, change, *, is_complete):
        number, row = world.began - 100 + int(change[-1]), world.model.rows[name]
        row.changes[number] = (CHANGES[change], is_complete)
        if is_complete and CHANGES[change] is not None and number == max(row.changes):
            row.asked = max(row.asked, world.model.version)

    def change_old(world, actor, change):
        """Make a change that found the rows at their old places, and look again."""
        if held(world, actor)["is_old"]:
            note(world, change, is_complete=False)
            change_at(world, world.places["old"], change)

    def change_new(world, actor, change):
        """Make a change of a row that was moved for it."""
        work = held(world, actor)
        note(world, change, is_complete=False)
        if not work.get("is_settled", True):
            world.growth.move([row_id])
        change_at(world, world.place_of(name), change)
        note(world, change, is_complete=True)

    def change_rest(world, actor, change):
        """Look again whether rows are moved; if so, move this one, and make the change anew."""
        if not held(world, actor)["is_old"] or world.growth.is_moving():
            world.growth.move([row_id])
            change_new(world, actor, change)
        note(world, change, is_complete=True)

    def change_all(world, actor, change):
        if world.model.is_moving:
            world.growth.move([row_id])
        change_at(world, world.place_of(name) if world.model.is_moving else world.places["old"], change)
        note(world, change, is_complete=True)

    def change_by_old(world, actor, change):
        """Make a change as a process that was not restarted does."""
        note(world, change, is_complete=not world.model.is_moving)
        change_at(world, world.places["old"], change)
        world.model.rows[name].late |= {world.began - 100 + int(change[-1])}

    def change_divided(world, actor, change):
        """Make a change in the part of the row, as for a table that does not grow."""
        change_at(world, world.place_of(name), change)
        note(world, change, is_complete=True)

    register("ask", ask)
    for change in CHANGES:
        for label, run in (
            ("old", change_old),
            ("new", change_new),
            ("rest", change_rest),
            ("all", change_all),
            ("by_old", change_by_old),
            ("divided", change_divided),
        ):
            register(
                f"{change}_{label}",
                lambda world, actor, run=run, change=change: run(world, actor, change),
                reads=True,
            )

    # Requests

    def touch_old(world, actor):
        work = held(world, actor)
        work["version"] = world.model.version
        if work["is_old"]:
            world.places["old"].touch_rows([row_id])

    def touch_rest(world, actor):
        work = held(world, actor)
        if not work["is_old"] or world.growth.is_moving():
            world.growth.move([row_id])
            world.place_of(name).touch_rows([row_id])
        world.model.rows[name].asked = max(world.model.rows[name].asked, work["version"])

    def touch_by_old(world, _):
        world.places["old"].touch_rows([row_id])
        if world.client.zscore(world.growth.old.keys.schedule, row_id) is not None:
            world.model.rows[name].asked = world.model.version

    for run in (touch_old, touch_rest, touch_by_old):
        register(run.__name__, run, reads=True)

    # A foreign client, which knows the old keys

    def foreign_put(world, _):
        keys, row = world.growth.old.keys, world.model.rows[name]
        world.client.zadd(keys.delay, {row_id: 1200})
        world.client.zadd(keys.schedule, {row_id: world.now()})
        row.changes[world.now()] = (1200.0, True)
        row.asked = world.model.version

    def foreign_put_first(world, actor):
        """Put a row before all changes that have a stamp; it has none in Redis."""
        foreign_put(world, actor)
        world.model.rows[name].changes = {world.began - 100: (1200.0, True)}

    def foreign_delay(world, _):
        world.client.zadd(world.growth.old.keys.delay, {row_id: 1200})
        world.model.rows[name].changes[world.now()] = (1200.0, False)
        world.model.rows[name].is_half = True

    def foreign_due(world, _):
        """Complete foreign_delay, or ask for a refresh."""
        world.client.zadd(world.growth.old.keys.schedule, {row_id: world.now()})
        row = world.model.rows[name]
        row.changes = {stamp: (delay, True) for stamp, (delay, _) in row.changes.items()}
        row.asked, row.is_half = world.model.version, False

    def foreign_drop(world, _):
        keys, row = world.growth.old.keys, world.model.rows[name]
        world.client.zadd(keys.delay, {row_id: -1})
        world.client.zadd(keys.schedule, {row_id: world.now()})
        row.changes[world.now()] = (None, True)

    for run in (foreign_put, foreign_put_first, foreign_due, foreign_delay, foreign_drop):
        register(run.__name__, run, reads=True)

    # Refreshes

    def claim(world, actor, place):
        schedule = world.places[place] if place == "old" else world.place_of(name)
        found, _ = schedule.claim_rows(10, LONG)
        world.client.delete(schedule.table.keys.queue)
        if found.row_ids:
            assert place != "old" or not world.client.hexists("state:", "closed"), "a place that is closed is claimed"
            world.model.leases |= {float(found.lease_until)}
            world.model.work[actor] = {"claim": found, "schedule": schedule}

    def commit(world, actor):
        work = held(world, actor)
        if "claim" not in work:
            return
        claim, schedule = work.pop("claim"), work["schedule"]
        value = b'{"v": %d}' % work["read"]
        world.model.leases -= {float(claim.lease_until)}
        outcome = schedule.commit_rows(claim, dict.fromkeys(claim.row_ids, value))
        if outcome.refreshed + outcome.unchanged:
            is_closed = schedule is world.places["old"] and world.client.hexists("state:", "closed")
            assert not is_closed, "a place that is closed is written"

    def fetch(world, actor):
        held(world, actor)["read"] = world.model.version

    def refresh(world, actor):
        for place in ("old", "new"):
            claim(world, actor, place)
            fetch(world, actor)
            commit(world, actor)

    def lease_old(world, actor):
        """Claim by hand, as a process with old settings does."""
        found = world.places["old"].lease_rows([row_id], LONG)
        if found.row_ids:
            world.model.leases |= {float(found.lease_until)}
            world.model.work[actor] = {"claim": found, "schedule": world.places["old"]}

    register("lease_old", lease_old)

    # A reader with old settings that fills the row

    def fill_begin(world, actor):
        (call,) = world.old_fill.begin([row_id], b"token", -1)
        begun = world.old_fill.read_begin([row_id], [call.run(world.client)])
        if begun.ours:
            held(world, actor).update(begun=begun, read=world.model.version)

    def fill_end(world, actor):
        work = held(world, actor)
        if "begun" in work:
            value = b'{"v": %d}' % work["read"]
            (call,) = world.old_fill.end(b"token", work.pop("begun"), {row_id: value}, None)
            filled, _ = call.run(world.client)
            is_closed = world.client.hexists("state:", "closed")
            assert not (filled and is_closed), "a reader writes to a place that is closed"

    register("fill_begin", fill_begin, reads=True)
    register("fill_end", fill_end)
    register("claim_old", lambda world, actor: claim(world, actor, "old"))
    register("claim_new", lambda world, actor: claim(world, actor, "new"))
    register("claim_and_fetch_old", lambda world, actor: (claim(world, actor, "old"), fetch(world, actor)), reads=True)
    register("fetch", fetch, redis=False, reads=True)
    register("commit", commit)
    register("refresh", refresh, reads=True)

    # A reader: new, old, new

    def get_new(world, actor):
        row, work = world.model.rows[name], held(world, actor)
        work.update(
            seen=row.seen, cached=row.cached, misses=row.misses, got=world.client.get(NEW[name].keys.value(row_id))
        )

    def get_old(world, actor):
        work = held(world, actor)
        work["got"] = work["got"] or world.client.get(world.growth.old.keys.value(row_id))

    def get_again(world, actor):
        work, row = held(world, actor), world.model.rows[name]
        got = work["got"] or world.client.get(NEW[name].keys.value(row_id))
        if work["cached"] is not None and work["misses"] == row.misses:
            assert got, "a row that is cached all the time is not found"
        assert not got or int(got[6:-1]) >= work["seen"], (
            "G3: a reader gets a value older than one that was seen before"
        )

    for run in (get_new, get_old, get_again):
        register(run.__name__, run)


for name, row_id in ROWS.items():
    steps_of_row(name, row_id)


@step(reads=False)
def begin(world: DividedWorld, _):
    """Note that rows are moved from now on."""
    world.begin()
