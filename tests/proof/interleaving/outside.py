"""Steps of the database, an application, a foreign client, and the clock."""

from .registry import STEPS, Step, step
from .world import DELAY, FILL, HOUR, KEYS, LATER, ROW, World

# The database


@step(redis=False, reads=False, writes=True)
def change(world: World, _):
    world.model.version, world.model.exists = world.model.version + 1, True


@step(redis=False, reads=False, writes=True)
def delete(world: World, _):
    world.model.version, world.model.exists = world.model.version + 1, False


@step(reads=False)
def evict(world: World, _):
    """Let the value be lost, as by its expiry."""
    world.client.delete(f"inv:{ROW}")
    world.model.epoch += 1
    world.model.absent = world.model.seen


@step(reads=False)
def forget(world: World, _):
    """Lose the state of the table: another client removes its key."""
    world.client.delete("state:")


# An application


@step
def put(world: World, _):
    apply(world, "", world.schedule.put_rows({ROW: (DELAY, 0)}), wanted=True)


@step(reads=False)
def drop(world: World, _):
    apply(world, "", world.schedule.drop_rows([ROW]), wanted=False)


def stamped(name, wanted, second):
    """Make the step of a task that was enqueued before the program began."""

    def run(world, _):
        stamp = world.began - 100 + second
        change = world.schedule.put_rows({ROW: (DELAY, 0)}, str(stamp)) if wanted else None
        apply(world, stamp, change or world.schedule.drop_rows([ROW], str(stamp)), wanted=wanted)

    STEPS[name] = Step(run)


for number in (1, 2, 3):
    stamped(f"put_{number}", True, number)
    stamped(f"drop_{number}", False, number)


def apply(world, stamp, changed, *, wanted):
    model = world.model
    stamp = stamp or world.now()
    is_newest = stamp >= model.stamp or model.stamp > world.now()
    assert changed.applied == is_newest, "G6: the order in which changes were enqueued is not kept"
    if is_newest:
        model.stamp, model.wanted, model.is_held = stamp, wanted, False
        if wanted:
            model.asked = model.version
        else:
            model.epoch += 1
            model.cancel_fills()
            left = [
                key
                for key in KEYS
                if key not in ("changed:", "wake:", "state:", "position:") and world.client.exists(key)
            ]
            assert not left, "G5: a dropped row is left in a key"


@step
def touch(world: World, _):
    delay = world.score("delay:")
    is_scheduled = bool(delay and delay > 0)
    assert world.schedule.touch_rows([ROW]) == is_scheduled
    assert is_scheduled or not world.client.exists(f"inv:{ROW}"), "G4: what a reader filled in outlives a request"
    assert not world.client.exists(FILL), "G4: what was read before a request is not forgotten"
    world.model.cancel_fills()
    reschedule(world)


@step
def touch_later(world: World, _):
    """Ask for the row as for one of many that have changed."""
    due, delay = world.score("schedule:"), world.score("delay:")
    world.schedule.touch_rows([ROW], lambda _: LATER)
    if delay and delay > 0:
        later = world.score("schedule:")
        assert later <= min(due or later, world.now() + LATER), "a request makes a row later"
        world.model.later = later
    world.model.cancel_fills()
    reschedule(world)


# A foreign client


@step(reads=False)
def delay_on(world: World, _):
    world.client.zadd("delay:", {ROW: DELAY})
    world.model.wanted = True if world.score("schedule:") is not None else None


@step(reads=False)
def delay_off(world: World, _):
    world.client.zadd("delay:", {ROW: -1})
    world.model.wanted = None


@step(reads=False)
def delay_gone(world: World, _):
    world.client.zrem("delay:", ROW)
    world.model.wanted = None


@step
def due_now(world: World, _):
    world.client.zadd("schedule:", {ROW: world.now()})
    reschedule(world)


def reschedule(world):
    delay = world.score("delay:")
    if delay and delay > 0:
        model = world.model
        model.wanted, model.asked, model.is_held = True, model.version, False


# The clock


@step(reads=False)
def clock_back(world: World, _):
    world.move_clock(-HOUR)


@step(reads=False)
def clock_forward(world: World, _):
    """Let the clock step forward, or an hour pass: nothing else tells the two apart."""
    world.move_clock(HOUR)


@step(reads=False)
def check(world: World, _):
    """Look at the clock, as each dispatcher does about once a second."""
    world.schedule.check_clock()
