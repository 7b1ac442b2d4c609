"""Report of a run: a line for each injection, and a table at the end."""

from dataclasses import dataclass, field


@dataclass
class FaultLine:
    """Sum over all injections of one fault."""

    fault: str
    times: int = 0
    lost: int = 0
    back: int = 0
    undead: int = 0
    fresh_s: float = 0.0
    """Longest time until all rows were fresh."""
    working_s: float = 0.0
    """Longest time until all processes worked."""
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
        # Batches in flight at the start of a measurement make the last count inexact.
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
    """Lines by fault, and the bound of both times."""

    bound_s: float
    order: tuple[str, ...] = ()
    """Names of the faults in the order of the table."""
    lines: dict[str, FaultLine] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def add(self, elapsed_s, what, line):
        """Add the result of an injection; return its line."""
        known = self.lines.setdefault(line.fault, FaultLine(line.fault))
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
        """Return the table as text."""
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for fault, *numbers in rows:
            cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
            lines.append("  ".join([fault.ljust(widths[0]), *cells]))
        return "\n".join(lines)

    def markdown(self):
        """Return the table as Markdown."""
        head, *rows = self._rows()
        rule = ("---", *("---:" for _ in head[1:]))
        return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))

    def _rows(self):
        total = FaultLine("all")
        for line in self.lines.values():
            total += line
        lines = sorted(self.lines.values(), key=lambda line: (*self.order, line.fault).index(line.fault))
        return [HEAD, *(line.cells for line in [*lines, total])]
