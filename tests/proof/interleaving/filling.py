"""Steps of a reader that fills the row: begin, read the database, end."""

from rowcache_tasks.reader.fill.scripts import ABSENT

from .model import Fill
from .registry import step
from .world import DELAY, FILL, ROW, World


@step
def fill_begin(world: World, actor):
    """Ask for the row, however old."""
    begun = begin(world, actor, None)
    assert begun.cached or world.model.cached is None, "a row that is cached is read from the database"


@step
def fill_begin_old(world: World, actor):
    """Ask for the row as if every value were too old."""
    begun = begin(world, actor, -1)
    assert not begun.cached, "a value that is too old is given"


def begin(world, actor, max_age_s):
    model, token = world.model, b"t" + actor.encode()
    (call,) = world.fill.begin([ROW], token, max_age_s)
    begun = world.fill.read_begin([ROW], [call.run(world.client)])
    if begun.ours:
        model.fills[actor] = Fill(token, begun, model.version, model.epoch)
    if begun.notes:
        assert model.absent >= model.seen, "G3: a row that was cached since is said not to be there"
    if begun.cached:
        assert begun.cached[ROW][0] == model.cached
    return begun


@step(redis=False)
def fill_read(world: World, actor):
    if actor in world.model.fills:
        fill = world.model.fills[actor]
        fill.read, fill.found = world.model.version, world.model.exists


@step
def fill_begin_and_read(world: World, actor):
    fill_begin_old(world, actor)
    fill_read(world, actor)


@step
def fill_at_once(world: World, actor):
    fill_begin_and_read(world, actor)
    fill_end(world, actor)


@step
def fill_read_and_end(world: World, actor):
    fill_read(world, actor)
    fill_end(world, actor)


@step(reads=False)
def fill_end(world: World, actor):
    end(world, actor, None)


@step(reads=False)
def fill_end_scheduling(world: World, actor):
    end(world, actor, DELAY)


def end(world, actor, delay_s):
    model, client = world.model, world.client
    fill = model.fills.pop(actor, None)
    if fill is None:
        return
    delay, due = world.score("delay:"), world.score("schedule:")
    outcome = world.value(fill.read) if fill.found else ABSENT
    is_failing = client.hexists("failures:", ROW)
    (call,) = world.fill.end(fill.token, fill.begun, {ROW: outcome}, delay_s)
    filled, superseded = call.run(world.client)
    assert client.get(FILL) != fill.token, "a fill that has ended holds others up"
    is_expected = fill.epoch == model.epoch and not (fill.is_outdated or fill.is_cancelled)
    if superseded:
        assert not is_expected or (delay or 1) <= 0, "a fill is refused, and nothing was between"
        return
    assert not fill.is_cancelled, "G5: a fill is written, although the row was dropped or asked for since"
    assert delay is None or delay > 0, "G5: a fill is written, although a client drops the row"
    model.epoch += 1
    if not filled:
        assert fill.read >= model.seen, "G3: a value was removed for an older absence"
        model.seen = model.absent = fill.read
        return
    model.cached, model.is_retried = outcome, model.is_retried or is_failing
    assert not client.hexists("failures:", ROW), "a row that was filled counts as failing"
    assert world.score("schedule:") is not None, "a value is never refreshed and never removed"
    if delay is not None:
        assert due in (None, world.score("schedule:")), "the due time of a scheduled row is changed by a fill"
        return
    model.is_held = False
    if delay_s is not None:
        model.wanted, model.asked, model.stamp = True, fill.asked, max(model.stamp, float(fill.begun.began_at))


@step(reads=False)
def fill_expires(world: World, _):
    """Let the note in the fill key expire: a token, or the absence of the row."""
    token = world.client.get(FILL)
    world.client.delete(FILL)
    for fill in world.model.fills.values():
        fill.is_cancelled = fill.is_cancelled or fill.token == token
