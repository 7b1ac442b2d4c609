"""Steps of a dispatcher and its worker: claim, read, commit or release."""

from dataclasses import replace

from rowcache_tasks.schedule.rows import Backoff

from .model import Work
from .registry import step
from .world import DELAY, LONG, PAUSE, ROW, World


@step(reads=False)
def claim(world: World, actor):
    """Claim with a lease that has ended as soon as anybody else looks: so it ends at any point."""
    take(world, actor, 0)


@step(reads=False)
def claim_long(world: World, actor):
    """Claim with a lease that does not end: only a reschedule lets anybody else have the row."""
    take(world, actor, LONG)


def take(world, actor, lease_s):
    model, delay, due = world.model, world.score("delay:"), world.score("schedule:")
    found, _ = world.schedule.claim_rows(10, lease_s)
    world.client.delete("queue:")
    if found.row_ids:
        assert not model.is_held, "G2: the row is claimed while a lease is out"
        assert (delay or 0) > 0, "a row without a delay is claimed"
        keep(world, actor, found, lease_s)
    elif (delay or 0) <= 0 and due is not None and due <= float(found.claimed_at):
        model.wanted = False
        model.epoch += 1
        model.cancel_fills()


@step(reads=False)
def claim_delay(world: World, actor):
    """Claim with a lease as long as the delay of the row."""
    take(world, actor, DELAY)


@step(redis=False, reads=False)
def deliver_twice(world: World, actor):
    """Get the message of the actor `one` once more."""
    if "one" in world.model.work:
        world.model.work[actor] = replace(world.model.work["one"], read=None)


@step(reads=False)
def lease(world: World, actor):
    """Refresh by hand: claim the row, due or not."""
    take_by_hand(world, actor, LONG)


@step(reads=False)
def lease_delay(world: World, actor):
    """Refresh by hand with a lease as long as the delay of the row."""
    take_by_hand(world, actor, DELAY)


def take_by_hand(world, actor, lease_s):
    found = world.schedule.lease_rows([ROW], lease_s)
    if found.row_ids:
        assert (world.score("delay:") or 0) > 0, "a row without a delay is claimed"
        keep(world, actor, found, lease_s)


def keep(world, actor, found, lease_s):
    model = world.model
    model.is_held = lease_s > 0
    model.leases |= {float(found.lease_until)}
    model.work[actor] = Work(found, epoch=model.epoch)
    for fill in model.fills.values():
        fill.is_outdated = True


@step(reads=False)
def look(world: World, actor):
    """Look at the version of the cached value: if it is that of the database, the row is not read."""
    if actor in world.model.work:
        world.model.work[actor].looked = world.client.get(f"inv:{ROW}")


@step(redis=False)
def read(world: World, actor):
    if actor in world.model.work:
        work = world.model.work[actor]
        work.read, work.found = world.model.version, world.model.exists


@step(reads=False)
def commit(world: World, actor):
    """Commit the outcome of the read: a value, or its absence."""
    delay, due, fence = world.score("delay:"), world.score("schedule:"), world.score("refreshed:")
    work = finish(world, actor)
    if work is None:
        return
    is_ours = due == float(work.claim.lease_until)
    accepted = commit_value(world, work) if work.found else commit_absence(world, work, is_ours)
    if not delay or delay <= 0:
        assert not accepted, "G5: a refresh of a row that is not wanted is accepted"
    elif not accepted and fence is None and not is_ours:
        # It was never committed, or dropped since the claim.
        assert not (work.found and due) or world.score("refreshed:"), "the refresh of a new row is refused for ever"
        world.model.epoch += 1
    else:
        assert accepted or work.epoch < world.model.epoch, "a refresh is refused, and nothing was between"
    assert is_ours or world.score("schedule:") == due, "G4: somebody else's due time is changed"
    if work.found and (after := world.score("delay:")) != delay:
        assert (delay or 0) > 0, "G5: a delay that is gone comes back"
        assert is_ours, "the delay of a row that was rescheduled since is changed"
        bounds = world.schedule.table.adaptive
        assert bounds.min_s <= after <= bounds.max_s, "a delay is out of its bounds"
    world.model.epoch += accepted


def commit_value(world, work):
    value, cached = world.value(work.read), world.client.get(f"inv:{ROW}")
    is_known = work.looked == value
    outcome = world.schedule.commit_rows(work.claim, {ROW: value[: value.index(b",") + 1] if is_known else value})
    assert not is_known or not outcome.refreshed, "the beginning of a value is written"
    assert not is_known or cached == value or not outcome.unchanged, "another value counts as unchanged"
    assert not (outcome.refreshed and cached == value), "an unchanged value is written"
    accepted = outcome.refreshed + outcome.unchanged
    assert accepted + outcome.superseded + outcome.dropped == 1
    is_fenced = (world.score("refreshed:") or 0) > float(work.claim.claimed_at)
    assert is_fenced or not accepted, "a commit leaves no fence, so that an older one may follow"
    assert not (accepted and world.client.hexists("failures:", ROW)), "a row that was refreshed counts as failing"
    return accepted


def commit_absence(world, work, is_ours):
    model, misses = world.model, world.client.hexists("failures:", ROW)
    missed = world.schedule.miss_rows(work.claim, [ROW], Backoff())
    if missed.missing:
        assert work.read >= model.seen, "G3: a value was removed for an older absence"
        model.seen = model.absent = work.read
        if missed.dropped:
            assert is_ours, "G1: a row that somebody asked for is dropped"
            assert misses, "G1: a row is dropped when it is missing for the first time"
            model.wanted = False
    return missed.missing


@step
def refresh(world: World, actor):
    """Claim, read and commit with nothing in between."""
    claim(world, actor)
    read(world, actor)
    commit(world, actor)


@step
def claim_and_read(world: World, actor):
    claim(world, actor)
    read(world, actor)


@step
def lease_and_read(world: World, actor):
    lease(world, actor)
    read(world, actor)


@step
def read_and_commit(world: World, actor):
    read(world, actor)
    commit(world, actor)


@step(reads=False)
def fail(world: World, actor):
    hand_back(world, actor, "cannot be read")


@step(reads=False)
def give_back(world: World, actor):
    hand_back(world, actor, "")


def hand_back(world, actor, reason):
    delay, failure = world.score("delay:"), world.client.hget("failures:", ROW)
    held = world.score("schedule:")
    work = finish(world, actor)
    if work is None:
        return
    released = world.schedule.release_rows(work.claim, {ROW: reason}, Backoff(base_s=PAUSE, max_s=PAUSE))
    assert released == (held == float(work.claim.lease_until)), "a lease that is not ours is released"
    if not reason or not delay or delay <= 0:
        assert world.client.hget("failures:", ROW) == failure, "what is no failure is recorded as one"
        assert not released or world.score("schedule:") <= world.now(), "what is handed back is due at once"


def finish(world, actor):
    work = world.model.work.pop(actor, None)
    if work is not None and float(work.claim.lease_until) in world.model.leases:
        if world.score("schedule:") == float(work.claim.lease_until):
            world.model.is_held = False
        world.model.leases -= {float(work.claim.lease_until)}
    return work
