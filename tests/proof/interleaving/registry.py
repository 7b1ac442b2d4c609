"""Steps of actors by name; each is atomic in Redis and updates the model."""

STEPS = {}


def step(function):
    """Make a function (world, actor) a step of its name."""
    STEPS[function.__name__] = function
    return function
