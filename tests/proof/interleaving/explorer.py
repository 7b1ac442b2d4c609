"""Enumeration of all interleavings of a program, depth first.

After each branch, the state before it is restored in Redis.
"""

from collections.abc import Mapping, Sequence

from . import filling, outside, refreshing  # noqa: F401 they register their steps
from .registry import STEPS
from .world import World

Program = Mapping[str, Sequence[str]]
"""Actor -> its steps, in their order."""


class Explorer:
    """Runs a program in every order there is.

    Each prefix of a history is one in which the processes that have steps left have died: so at each step everybody
    dies, the rest recovers, and the result is checked.
    """

    def __init__(self, world: World, program: Program):
        self.world, self.program = world, program
        self.interleavings = 0
        self.steps = 0
        self.path = []

    def run(self, before: Sequence[str] = (), first: Sequence[str] = ()):
        """Explore all interleavings after the steps `before`, that begin with a step of each actor in `first`."""
        for name in before:
            self._step("before", name)
            self._guarded(self.world.look)
        left = {actor: tuple(steps) for actor, steps in self.program.items()}
        for actor in first:
            self._step(actor, left[actor][0])
            self._guarded(self.world.look)
            left[actor] = left[actor][1:]
        self._explore(left)
        return self

    def _explore(self, left):
        state = self._guarded(self.world.look)
        self._guarded(self.world.settle)
        moves = [(actor, steps) for actor, steps in left.items() if steps]
        self.interleavings += not moves
        for actor, steps in moves:
            self.world.restore(state)
            self._step(actor, steps[0])
            self._explore(left | {actor: steps[1:]})
            self.path.pop()

    def _step(self, actor, name):
        self.path.append(f"{actor}.{name}" if actor != "before" else name)
        self.steps += 1
        self._guarded(lambda: STEPS[name](self.world, actor))

    def _guarded(self, work):
        try:
            return work()
        except AssertionError as error:
            reason = str(error).partition("\n")[0]
            raise CounterexampleError(f"{reason}: after {' '.join(self.path)}") from error


class CounterexampleError(Exception):
    """A guarantee is broken; the message is the shortest prefix of the history that shows it."""
