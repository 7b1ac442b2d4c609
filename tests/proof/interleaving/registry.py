"""Steps of actors by name; each is atomic in Redis and updates the model."""

from collections.abc import Callable
from dataclasses import dataclass

STEPS = {}


@dataclass(frozen=True)
class Step:
    """What a step does, and what it touches besides what its actor holds."""

    run: Callable
    redis: bool = True
    """Whether it calls Redis, or changes what the model expects there."""
    reads: bool = True
    """Whether it reads the version of the database."""
    writes: bool = False
    """Whether it changes the database."""

    def commutes(self, other):
        """Whether the two, of different actors, end in the same state in either order."""
        if self.redis and other.redis:
            return False
        return not (self.writes and (other.reads or other.writes)) and not (other.writes and self.reads)


def step(function=None, **touched):
    """Make a function (world, actor) a step of its name."""
    if function is None:
        return lambda function: step(function, **touched)
    STEPS[function.__name__] = Step(function, **touched)
    return function
