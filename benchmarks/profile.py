"""Own what the rounds of one batch size gave: the processor time of a row, by process and by what it was spent on."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median

from benchmarks import sampler
from benchmarks.part import DISPATCHER, MAIN, POOL, Rules
from benchmarks.sample import Sample

VALKEY, POSTGRESQL = "Valkey", "PostgreSQL"
PROCESSES = (DISPATCHER, MAIN, POOL, VALKEY, POSTGRESQL)

SCRIPTS = ("claim_rows: ", "commit_rows: ")
"""How the parts of Valkey begin that are scripts."""

COMMANDS = {
    "queue: commands of kombu": ("brpop", "lpush", "rpop", "exec", "multi", "llen"),
    "events: PUBLISH": ("publish",),
}
"""Part of Valkey -> commands. What stands within a transaction counts with its EXEC."""


@dataclass
class Profile:
    """What the rounds of one batch size gave."""

    rates: list[float] = field(default_factory=list)
    costs: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PROCESSES})
    """Process -> microseconds of processor time a row, for each round."""
    stacks: dict[str, Counter[sampler.Stack]] = field(default_factory=lambda: {n: Counter() for n in PROCESSES[:3]})
    commands: list[dict[str, float]] = field(default_factory=list)
    """Part of Valkey beside the scripts -> microseconds a row, for each round."""
    scripts: dict[str, float] = field(default_factory=dict)
    """Part of Valkey -> microseconds a row."""
    batches: list[float] = field(default_factory=list)
    """Rows in a batch, for each round."""

    def cost(self, process: str) -> Sample:
        """Give the microseconds a row of one process."""
        return Sample(self.costs[process])

    @property
    def total(self) -> Sample:
        """Give the microseconds a row of all processes."""
        return Sample([sum(costs) for costs in zip(*self.costs.values(), strict=True)])

    def parts(self) -> dict[tuple[str, str], float]:
        """Give (process, part) -> microseconds a row."""
        found = {}
        for process, stacks in self.stacks.items():
            for part, share in Rules(process).shares(stacks).items():
                found[process, part] = share * self.cost(process).median
        server = self.scripts | {name: median(parts[name] for parts in self.commands) for name in COMMANDS}
        used, alone = self.cost(VALKEY).median, sum(server.values())
        if alone > used:  # The scripts were measured alone, where the processor had other things in its caches.
            server = {name: cost * used / alone for name, cost in server.items()}
        server["the rest"] = max(0.0, used - alone)
        found |= {(VALKEY, name): cost for name, cost in server.items()}
        found[POSTGRESQL, "SELECT"] = self.cost(POSTGRESQL).median
        return found
