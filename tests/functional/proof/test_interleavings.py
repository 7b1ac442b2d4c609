"""Every order in which dispatchers, workers, applications, foreign clients and a database can take their steps."""

from dataclasses import replace
from math import factorial, prod

import pytest
from proof.interleaving.client import DirectClient
from proof.interleaving.divided_program import SMALL_DIVIDED
from proof.interleaving.divided_world import open_world
from proof.interleaving.explorer import CounterexampleError, Explorer
from proof.interleaving.mutant import MUTANTS
from proof.interleaving.program import SMALL
from proof.interleaving.world import TABLE, TIMES, World


@pytest.fixture
def client(valkey):
    with DirectClient.of(valkey.url_for(9)) as client:
        yield client


PROGRAMS = SMALL | SMALL_DIVIDED


@pytest.mark.parametrize("name", PROGRAMS)
def test_guarantees_hold_in_every_interleaving_of(name, client, record_property):
    before, program = PROGRAMS[name]
    explorer = Explorer(open_world(name, client), program).run(before)
    record_property("interleavings", explorer.interleavings)
    assert explorer.interleavings > 0


def test_there_are_some_thousand_interleavings():
    count = 0
    for _, program in SMALL.values():
        lengths = [len(steps) for steps in program.values()]
        count += factorial(sum(lengths)) // prod(map(factorial, lengths))
    assert count > 5000


class RecordingWorld(World):
    """World that notes the states at which everybody dies, without their times."""

    def __init__(self, client):
        self.states = set()
        super().__init__(client, TABLE)

    def settle(self):
        model = replace(self.model, stamp=0.0, leases=len(self.model.leases))
        for work in model.work.values():
            work.claim = None
        for fill in model.fills.values():
            fill.begun = None
        held = sorted(model.work.items()), sorted(model.fills.items())
        exist = self.client.exists(*TIMES, "delay:"), self.client.zcard("schedule:"), self.client.hlen("failures:")
        self.states.add(repr((replace(model, work=None, fills=None), held, exist)))
        super().settle()


@pytest.mark.parametrize("name", ["a row that is not there and asked for", "a fill of a row that is not there"])
def test_orders_that_are_left_out_reach_no_other_state(name, client):
    before, program = SMALL[name]
    every = Explorer(RecordingWorld(client), program, is_complete=True).run(before)
    some = Explorer(RecordingWorld(client), program).run(before)
    assert some.world.states == every.world.states
    assert some.interleavings < every.interleavings


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_script_without_one_of_its_checks_is_found(mutant, client):
    before, program = PROGRAMS[mutant.program]
    explorer = Explorer(mutant.infect(client), program)
    with pytest.raises(CounterexampleError, match=" after "):
        explorer.run(before)
