"""Coroutines over clients of redis-py, whether these block or are awaited."""

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def outcome_of(call: Any) -> Any:
    """Return the result of a call of a client, awaited if it is one of asyncio."""
    return await call if hasattr(call, "__await__") else call


def run_blocking(steps: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, without an event loop: all that it awaits blocks instead."""
    try:
        steps.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("a client of asyncio is awaited without an event loop")
