"""The steps that actors can make, by name. Each is atomic in Redis, and says what it means for the model."""

STEPS = {}


def step(function):
    """Make a function (world, actor) a step of its name."""
    STEPS[function.__name__] = function
    return function
