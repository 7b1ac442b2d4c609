"""Own what one reader took, order after order."""

from benchmarks.programs.reading.catalogue import Race, Reader
from benchmarks.programs.reading.order import Order
from benchmarks.programs.reading.program import Program

FEW = 8
"""Calls of each thread or task while it is tried out how many an order has."""
MOST = 20_000
"""Calls of an order."""


class Meter:
    """Has a program read for about order_s seconds, again and again; microseconds a call."""

    def __init__(self, program: Program, race: Race, reader: Reader, order_s: float) -> None:
        self.us: list[float] = []
        self.processor_us: list[float] = []
        """Of the process that reads, not of those that it asks."""
        self._program = program
        self._order = Order(reader.way, FEW * race.at_once, race.rows, race.at_once)
        for _ in range(3):
            self.read()
        calls = min(MOST, int(1e6 * order_s / min(self.us)))
        self._order = Order(reader.way, max(FEW * race.at_once, calls - calls % race.at_once), race.rows, race.at_once)
        self.clear()

    def read(self) -> None:
        """Give an order."""
        answer = self._program.read(self._order)
        self.us.append(1e6 * answer.seconds / self._order.calls)
        self.processor_us.append(1e6 * answer.processor_s / self._order.calls)

    def clear(self) -> None:
        """Forget what was measured so far."""
        self.us.clear()
        self.processor_us.clear()


class Pair:
    """A reader beside the one that it is compared with: each first in every other round, and the ratios of the two."""

    def __init__(self, meter: Meter, other: Meter) -> None:
        self.meter, self._other = meter, other
        self.ratios: list[float] = []
        self.processor_ratios: list[float] = []
        self._is_first = False

    def read(self) -> float:
        """Give both an order; gives the microseconds of a call of the reader."""
        self._is_first = not self._is_first
        for meter in (self.meter, self._other) if self._is_first else (self._other, self.meter):
            meter.read()
        self.ratios.append(self.meter.us[-1] / self._other.us[-1])
        self.processor_ratios.append(self.meter.processor_us[-1] / self._other.processor_us[-1])
        return self.meter.us[-1]

    def clear(self) -> None:
        """Forget what was measured so far."""
        self.meter.clear()
        self._other.clear()
        self.ratios.clear()
        self.processor_ratios.clear()
