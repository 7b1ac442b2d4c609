"""Own an axis: from numbers to pixels, and which numbers are written beside it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

STEPS = (1, 2, 5, 10)


@dataclass(frozen=True)
class Axis:
    """From `low` at pixel `start` to `high` at pixel `end`; the pixels may count down."""

    low: float
    high: float
    start: float
    end: float
    is_logarithmic: bool

    @classmethod
    def of(cls, values: Iterable[float], start: float, end: float, is_logarithmic: bool) -> "Axis":
        """Make the axis that holds the values: from 0, a logarithmic one between round numbers."""
        found = [value for value in values if math.isfinite(value) and (value > 0 or not is_logarithmic)]
        if not found:
            return cls(0.1 if is_logarithmic else 0.0, 1.0, start, end, is_logarithmic)
        if is_logarithmic:
            low = below(min(found))
            return cls(low, max(above(max(found)), 2 * low), start, end, is_logarithmic)
        return cls(min(0.0, *found), max(found) or 1.0, start, end, is_logarithmic)

    def at(self, value: float) -> float:
        """Give the pixel of a value; one beyond the axis is at its end."""
        inside = min(max(value, self.low), self.high)
        if self.is_logarithmic:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Give the numbers that are written beside the axis: three to eight of them."""
        if not self.is_logarithmic:
            step = above((self.high - self.low) / 5)
            return [n * step for n in range(math.ceil(self.low / step), math.floor(self.high / step + 1e-9) + 1)]
        decades = math.log10(self.high / self.low)
        steps = (1, 2, 5) if decades < 2.5 else (1,)
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        stride = max(1, round(decades / 7))
        found = [step * 10.0**exponent for exponent in exponents[::stride] for step in steps]
        return [tick for tick in found if self.low * 0.999 <= tick <= self.high * 1.001]


def below(value: float) -> float:
    """Give the largest 1, 2 or 5 times a power of ten that is not above a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in STEPS if step * power <= value * (1 + 1e-9))


def above(value: float) -> float:
    """Give the smallest 1, 2 or 5 times a power of ten that is not below a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return min(step * power for step in STEPS if step * power >= value * (1 - 1e-9))


def tick_text(value: float) -> str:
    """Write the number of a tick: 0.05, 20, 5k, 2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * (1 - 1e-9):
            return f"{value / size:.6g}{letter}"
    return f"{value:.10f}".rstrip("0").rstrip(".") if value else "0"


def value_text(value: float) -> str:
    """Write a value with three digits, or all that it has before the point: 0.0123, 1.23, 12.3, 12,345."""
    if not value or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"
