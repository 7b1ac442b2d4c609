"""Steps of rows that are read from replicas of the database, which replay its changes late."""

import math

from rowcache_tasks.reader.fill.scripts import NOT_READ
from rowcache_tasks.schedule.position import HEADER_BYTES, UNCLAIMED, ReadPosition, check_positions, need_position

from .filling import fill_read
from .outside import change
from .refreshing import claim, commit, read
from .registry import STEPS, Step, step
from .world import REPLICATED, ROW, World

A_CHANGE = 1000
"""Bytes of the log from one version of the row to the next."""


@step(redis=False, writes=True)
def change_and_replay_a(world: World, actor):
    change(world, actor)
    replay(world, "a")


def replay(world, replica):
    world.model.replayed |= {replica: world.model.version}


def read_from(world, actor, replica):
    if actor in world.model.work:
        read(world, actor)
        work = world.model.work[actor]
        work.read, work.replica = world.model.replayed.get(replica, 1), replica


def fill_from(world, actor, replica):
    if actor in world.model.fills:
        fill_read(world, actor)
        world.model.fills[actor].read = world.model.replayed.get(replica, 1)


def claim_from(world, actor, replica):
    claim(world, actor)
    read_from(world, actor, replica)


for name in "ab":
    STEPS[f"claim_and_read_{name}"] = Step(lambda world, actor, name=name: claim_from(world, actor, name))
    STEPS[f"replay_{name}"] = Step(lambda world, _, name=name: replay(world, name), redis=False, writes=True)
    STEPS[f"read_{name}"] = Step(lambda world, actor, name=name: read_from(world, actor, name), redis=False)
    STEPS[f"fill_read_{name}"] = Step(lambda world, actor, name=name: fill_from(world, actor, name), redis=False)


@step(reads=False)
def check_position(world: World, actor):
    """Check where the row was read; too early, it is not committed."""
    if actor not in world.model.work:
        return
    work, due = world.model.work[actor], world.score("schedule:")
    is_ours = due == float(work.claim.lease_until)
    if is_reached(world, work.read, work.claim.lease_until, is_primary=not work.replica):
        return
    assert is_ours or world.score("schedule:") == due, "G4: somebody else's due time is changed"
    world.model.leases -= {float(work.claim.lease_until)}
    if is_ours:
        world.model.is_held = False
        world.model.leases |= {world.score("schedule:")}
    del world.model.work[actor]


@step(reads=False)
def fill_check(world: World, actor):
    """Check where a reader has read the row; too early, it ends its fill."""
    fill = world.model.fills.get(actor)
    if fill is not None and not is_reached(world, fill.read, UNCLAIMED):
        (call,) = world.fill.end(fill.token, fill.begun, {ROW: NOT_READ}, None)
        call.run(world.client)
        del world.model.fills[actor]


def is_reached(world, version, lease_until, *, is_primary=False):
    at = A_CHANGE * version
    call = check_positions(REPLICATED, [ROW], ReadPosition(math.inf if is_primary else at, at), lease_until)
    (answer,) = call._replace(script=world.load("check_positions")).run(world.client)
    assert answer or at < world.model.needed, "a read is refused that has seen all that it must"
    if answer:
        world.model.needed = max(world.model.needed, at)
    return bool(answer)


@step(reads=False)
def need(world: World, _):
    """Note the position of the last change of the row, before the row is asked for."""
    world.model.needed = A_CHANGE * world.model.version
    need_position(world.client, REPLICATED, [ROW], f"0/{world.model.needed + HEADER_BYTES:X}")


@step(reads=False)
def fall_due(world: World, _):
    """Let the delay of the row be over, unless it is claimed: nobody asks for it."""
    if world.score("schedule:") not in world.model.leases:
        world.client.zadd("schedule:", {ROW: world.now()}, xx=True)


@step
def refresh_from_a(world: World, actor):
    claim_from(world, actor, "a")
    check_position(world, actor)
    commit(world, actor)
