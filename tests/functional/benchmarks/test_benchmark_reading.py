"""The programs that read for the benchmarks: those of this package's own environment do what they are told."""

import pytest

from benchmarks.cases.reading import cache_rows, calm
from benchmarks.programs.reading.catalogue import PROGRAMS, RACES
from benchmarks.programs.reading.order import ROWS, Order
from benchmarks.programs.reading.program import Program
from benchmarks.programs.reading.service import ROW_IDS, check
from benchmarks.stage import Stage


@pytest.fixture(scope="module")
def stage():
    with Stage(ROWS) as stage:
        cache_rows(stage)
        yield stage


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_reads_in_each_of_its_ways(stage, name):
    module, arguments = PROGRAMS[name]
    orders = {
        Order(reader.way, 2 * race.at_once, race.rows, race.at_once)
        for race in RACES
        for reader in race.readers
        if reader.program == name
    }
    assert orders
    program = Program(stage, module, *arguments)
    try:
        program.await_ready()
        for order in orders:
            answer = program.read(order)
            assert answer.seconds > 0 <= answer.processor_s
    finally:
        program.stop()


def test_program_that_cannot_read_says_why(stage):
    program = Program(stage, "nothing")
    with pytest.raises(AssertionError, match="No module named"):
        program.await_ready()
    program.stop()


@pytest.mark.parametrize("wrong", [[], [None], [{"id": 1}], [{"id": 2, "sku": "", "price": 1}]])
def test_reader_that_gives_something_else_is_found_out(wrong):
    with pytest.raises((AssertionError, TypeError)):
        check("wrong", ROW_IDS[:1], wrong)


def test_repetition_is_the_median_of_its_rounds():
    assert list(calm([1, 100, 2, 5, 5, 5, 7], 2).values) == [2, 5]
