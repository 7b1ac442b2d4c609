"""Enumeration of all interleavings of a program, depth first.

After each branch, the state before it is restored in Redis. Of two orders that differ only in steps that commute, such
as a commit and a change of the database, one is run: it reaches the same states.
"""

from collections.abc import Mapping, Sequence

from . import filling, moving, outside, refreshing, replicas  # noqa: F401 they register their steps
from .registry import STEPS
from .world import World

Program = Mapping[str, Sequence[str]]
"""Actor -> its steps, in their order."""


class Explorer:
    """Runs a program in every order there is.

    Each prefix of a history is one in which the processes that have steps left have died: so at each step everybody
    dies, the rest recovers, and the result is checked.
    """

    def __init__(self, world: World, program: Program, *, is_complete: bool = False):
        """With `is_complete`, orders that differ only in steps that commute are run as well."""
        self.world, self.program, self.is_complete = world, program, is_complete
        self.interleavings = 0
        self.steps = 0
        self.path = []

    def run(self, before: Sequence[str] = ()):
        """Explore all interleavings after the steps `before`."""
        for name in before:
            self._step("before", name)
            self._guarded(self.world.look)
        self._explore({actor: tuple(steps) for actor, steps in self.program.items()})
        return self

    def _explore(self, left, asleep=frozenset()):
        """Explore all orders of the steps left, but for those that begin with an actor in `asleep`.

        Its next step was explored from an earlier state, and all steps since commute with it.
        """
        state = self._guarded(self.world.look)
        self._guarded(self.world.settle)
        moves = [(actor, STEPS[steps[0]]) for actor, steps in left.items() if steps]
        self.interleavings += not moves
        for actor, move in moves:
            if actor in asleep:
                continue
            self.world.restore(state)
            self._step(actor, left[actor][0])
            later = {other for other, step in moves if other in asleep and step.commutes(move)}
            self._explore(left | {actor: left[actor][1:]}, later)
            self.path.pop()
            if not self.is_complete:
                asleep |= {actor}

    def _step(self, actor, name):
        self.path.append(f"{actor}.{name}" if actor != "before" else name)
        self.steps += 1
        self._guarded(lambda: STEPS[name].run(self.world, actor))

    def _guarded(self, work):
        try:
            return work()
        except AssertionError as error:
            reason = str(error).partition("\n")[0]
            raise CounterexampleError(f"{reason}: after {' '.join(self.path)}") from error


class CounterexampleError(Exception):
    """A guarantee is broken; the message is the shortest prefix of the history that shows it."""
