"""Own the constants of the model: what a row, a batch and a look cost. Measured by `python -m benchmarks`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.ops.capacity.workload import MOST
from rowcache_tasks.text import shorten, show_line

__all__ = ["Constants", "Cost", "load_constants", "parse_constants"]

SECTION = "capacity"
"""The case of the benchmark that measures them, as results.json names it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a part uses: microseconds of processor time, or bytes."""

    second: float = 0.0
    """Each second, also with nothing to do."""
    look: float = 0.0
    """For each time that a dispatcher wakes up and looks what is due, in all tables."""
    batch: float = 0.0
    """For each batch, its claim included."""
    row: float = 0.0
    """For each row of a batch."""
    byte: float = 0.0
    """For each byte of JSON of each row."""
    changed: float = 0.0
    """For each row that is not as it was."""

    def of_batch(self, rows: float, row_bytes: float, changed_share: float) -> float:
        """Give the cost of one batch."""
        return self.batch + rows * self.of_row(row_bytes, changed_share)

    def of_row(self, row_bytes: float, changed_share: float) -> float:
        """Give what one row more in a batch costs."""
        return self.row + self.byte * row_bytes + self.changed * changed_share


@dataclass(frozen=True, slots=True)
class Constants:
    """The costs of each part; processor time in microseconds of one core of the machine that was measured."""

    about: str
    """When, on which machine, with which versions."""
    dispatcher: Cost
    worker_main: Cost
    """The main process of a worker: fetches messages, hands them to its processes, tells Flower."""
    worker_pool: Cost
    """The processes of a worker: read, encode, commit."""
    redis: Cost
    """Cache and broker on one server: claims, messages, commits."""
    database: Cost
    net_in: Cost
    """Bytes that Redis receives."""
    net_out: Cost
    """Bytes that Redis sends, without GETs."""
    get_us: float
    """Processor time of Redis for one GET."""
    pass_us: float
    """From a claim of a dispatcher to its pause, without what rows take: time of the clock."""
    row_pass_us: float
    """The same for each row of the batch."""
    start_us: float
    """How long after its claim a worker process starts a batch, when one is free: time of the clock."""
    memory_row: float
    """Bytes of memory of Redis for a row, the JSON not included."""
    memory_byte: float
    """Bytes of memory of Redis for a byte of JSON."""
    scheduled_per_s: float
    """Rows a second that schedule_table schedules."""


COSTS = tuple(field.name for field in fields(Constants) if field.type is Cost)
NUMBERS = tuple(field.name for field in fields(Constants) if field.type is float)


@cache
def load_constants() -> Constants:
    """Give the constants that come with the package."""
    return parse_constants(json.loads(files(__package__).joinpath("constants.json").read_text("utf-8")))


def parse_constants(raw: object) -> Constants:
    """Read constants.json, or a results.json of the benchmark that holds them. Raises ArgumentError, one line."""
    found = find_constants(raw)
    try:
        values: dict[str, Any] = {
            name: Cost(**{key: number(value) for key, value in found[name].items()}) for name in COSTS
        }
        values |= {name: number(found[name]) for name in NUMBERS}
        if not values["scheduled_per_s"]:
            raise ValueError("scheduled_per_s is 0")
        return Constants(about=show_line(str(found["about"])), **values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(
            f"the constants cannot be used, {type(error).__name__} {shorten(str(error))}: "
            "measure anew with `python -m benchmarks --only capacity`"
        ) from error


def find_constants(raw: object) -> Mapping[str, Any]:
    """Find the constants in what a file holds."""
    if isinstance(raw, Mapping):
        if "dispatcher" in raw:
            return raw
        try:
            found = raw["sections"][SECTION]["section"]["figures"]["constants"]
        except (KeyError, TypeError):
            found = None
        if isinstance(found, Mapping):
            return found
    raise ArgumentError(
        "there are no constants of the capacity model: give the results.json of `python -m benchmarks --only capacity`"
    )


def number(value: object) -> float:
    """Accept a number that is not negative and of a size that can be meant."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        raise ValueError(f"{shorten(value)} is no number from 0 to {MOST:g}")
    return float(value)
