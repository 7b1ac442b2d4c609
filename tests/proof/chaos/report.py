"""Own what a person reads: a line for each fault while it runs, and the table at the end."""

from dataclasses import dataclass, field


@dataclass
class Line:
    """What is known about one fault, over all its injections."""

    fault: str
    times: int = 0
    lost: int = 0
    back: int = 0
    undead: int = 0
    fresh_s: float = 0.0
    """The longest time until all rows were fresh."""
    working_s: float = 0.0
    """The longest time until all processes worked."""
    superseded: int = 0
    claimed_in_vain: int = 0

    def __iadd__(self, other):
        self.times += other.times
        for name in ("lost", "back", "undead", "superseded", "claimed_in_vain"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.fresh_s = max(self.fresh_s, other.fresh_s)
        self.working_s = max(self.working_s, other.working_s)
        return self

    def is_good(self, bound_s):
        return self.lost + self.back + self.undead == 0 and max(self.fresh_s, self.working_s) <= bound_s

    @property
    def cells(self):
        times = f"{self.fresh_s:.1f}", f"{self.working_s:.1f}"
        # What is under way at the start of a measurement makes the last count inexact by some batches.
        duplicates = self.superseded, max(0, self.claimed_in_vain)
        return tuple(map(str, (self.fault, self.times, self.lost, self.back, self.undead, *times, *duplicates)))


HEAD = (
    "fault",
    "times",
    "rows lost",
    "values back",
    "rows come back",
    "all fresh, s",
    "all work, s",
    "superseded",
    "claimed in vain",
)


@dataclass
class Report:
    """The lines by fault, and the bound that both times must keep."""

    bound_s: float
    order: tuple[str, ...] = ()
    """The faults as the table is to list them."""
    lines: dict[str, Line] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def add(self, elapsed_s, what, line):
        """Add what came of one injection; returns the line for people."""
        known = self.lines.setdefault(line.fault, Line(line.fault))
        known += line
        return (
            f"{elapsed_s:6.1f} s  {'ok' if line.is_good(self.bound_s) else 'BAD':<3}  {line.fault}: {what}; "
            f"all rows fresh after {line.fresh_s:.1f} s, all processes at work after {line.working_s:.1f} s "
            f"(bound {self.bound_s:g} s); lost {line.lost}, back {line.back}, come back {line.undead}"
        )

    @property
    def is_good(self):
        return not self.violations and all(line.is_good(self.bound_s) for line in self.lines.values())

    def table(self):
        """The table for a terminal."""
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for fault, *numbers in rows:
            cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
            lines.append("  ".join([fault.ljust(widths[0]), *cells]))
        return "\n".join(lines)

    def markdown(self):
        """The same table for a document."""
        head, *rows = self._rows()
        rule = ("---", *("---:" for _ in head[1:]))
        return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))

    def _rows(self):
        total = Line("all")
        for line in self.lines.values():
            total += line
        lines = sorted(self.lines.values(), key=lambda line: (*self.order, line.fault).index(line.fault))
        return [HEAD, *(line.cells for line in [*lines, total])]
