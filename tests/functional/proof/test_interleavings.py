"""Every order in which dispatchers, workers, applications, foreign clients and a database can take their steps."""

from math import factorial, prod

import pytest
from proof.interleaving.explorer import CounterexampleError, Explorer
from proof.interleaving.mutant import MUTANTS
from proof.interleaving.program import SMALL
from proof.interleaving.world import World

from rowcache_tasks.config.settings import Table

TABLE = Table("inv", "inventory", missing_limit=2)


@pytest.mark.parametrize("name", SMALL)
def test_guarantees_hold_in_every_interleaving_of(name, client, record_property):
    before, program = SMALL[name]
    explorer = Explorer(World(client, TABLE), program).run(before)
    record_property("interleavings", explorer.interleavings)
    assert explorer.interleavings > 0


def test_there_are_some_thousand_interleavings():
    count = 0
    for _, program in SMALL.values():
        lengths = [len(steps) for steps in program.values()]
        count += factorial(sum(lengths)) // prod(map(factorial, lengths))
    assert count > 5000


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_script_without_one_of_its_checks_is_found(mutant, client):
    before, program = SMALL[mutant.program]
    explorer = Explorer(mutant.infect(client, TABLE), program)
    with pytest.raises(CounterexampleError, match=" after "):
        explorer.run(before)
