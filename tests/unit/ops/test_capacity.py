"""What must hold of the capacity model for any numbers. benchmarks/cases/capacity.py measures whether it is right."""

import json
import math
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.ops.capacity import (
    Constants,
    Cost,
    Fleet,
    Group,
    Workload,
    advise,
    fill_batches,
    load_constants,
    make_plan,
    parse_constants,
    parse_group,
)
from rowcache_tasks.ops.capacity.fill import Rhythm

CONSTANTS = Constants(
    about="made up",
    dispatcher=Cost(look=400, batch=2000, row=5),
    worker_main=Cost(second=2500, batch=2400, row=4),
    worker_pool=Cost(batch=1900, row=8, byte=0.003),
    redis=Cost(look=20, batch=780, row=12, byte=0.005, changed=1),
    database=Cost(batch=150, row=2, byte=0.001),
    net_in=Cost(look=80, batch=6300, row=70, byte=1),
    net_out=Cost(look=60, batch=5200, row=30),
    get_us=8,
    pass_us=3000,
    row_pass_us=5,
    start_us=4000,
    memory_row=290,
    memory_byte=1.1,
    scheduled_per_s=50_000,
)
few = settings(max_examples=40, deadline=None)
RHYTHM = Rhythm(pass_s=0.003, row_s=5e-6, linger_s=0.002, poll_s=0.045, batch_s=0.001)

groups = st.builds(Group, st.floats(1, 1e7), st.floats(0.05, 1e5))
workloads = st.builds(
    Workload,
    st.lists(groups, min_size=1, max_size=4).map(tuple),
    row_bytes=st.floats(2, 1e5),
    changed_share=st.floats(0, 1),
    gets_per_s=st.floats(0, 1e5),
    tables=st.integers(1, 20),
    together=st.floats(1, 500),
)
fleets = st.builds(
    Fleet,
    dispatchers=st.none() | st.integers(1, 10),
    processes=st.none() | st.integers(1, 100),
    batch_size=st.integers(1, 1000),
    round_trip_s=st.floats(0, 0.05),
    speed=st.floats(0.1, 10),
    cores=st.none() | st.integers(1, 64),
)


def plan_of(*rows, **options):
    fleet = {name: options.pop(name) for name in list(options) if name in Fleet.__dataclass_fields__}
    return make_plan(Workload(tuple(Group(*group) for group in rows), **options), Fleet(**fleet), CONSTANTS)


# fill


@few
@given(st.floats(0.01, 1e6), st.integers(1, 1000), st.integers(1, 10), st.integers(1, 10), st.floats(1, 1000))
def test_batches_hold_all_rows_and_are_neither_empty_nor_too_full(rate, size, dispatchers, tables, together):
    fill = fill_batches(rate, size, RHYTHM, dispatchers=dispatchers, tables=tables, together=together)
    assert fill.batches_per_s * fill.rows_per_batch == pytest.approx(rate)
    assert 1 - 1e-9 <= fill.rows_per_batch <= size
    assert fill.looks_per_s >= dispatchers / RHYTHM.poll_s
    assert fill.waits_s >= 0


@few
@given(st.floats(0.01, 1e5), st.floats(1.01, 10))
def test_batches_are_fuller_when_more_rows_are_due(rate, factor):
    few, many = fill_batches(rate, 200, RHYTHM), fill_batches(rate * factor, 200, RHYTHM)
    assert many.rows_per_batch >= few.rows_per_batch * (1 - 1e-6)


@few
@given(st.floats(1, 1e5), st.integers(1, 5))
def test_more_dispatchers_make_smaller_batches(rate, dispatchers):
    one = fill_batches(rate, 200, RHYTHM, dispatchers=dispatchers)
    more = fill_batches(rate, 200, RHYTHM, dispatchers=dispatchers + 1)
    assert more.rows_per_batch <= one.rows_per_batch * (1 + 1e-6)


def test_two_dispatchers_make_batches_of_half_the_rows():
    one, two = (fill_batches(5_000, 500, RHYTHM, dispatchers=dispatchers) for dispatchers in (1, 2))
    assert two.rows_per_batch == pytest.approx(one.rows_per_batch / 2, rel=0.05)


def test_batches_that_nobody_has_started_make_the_pause_longer():
    prompt, slow = (fill_batches(1_000, 500, RHYTHM, start=lambda *_, s=s: s) for s in (0.001, 0.02))
    assert slow.rows_per_batch > 1.5 * prompt.rows_per_batch


def test_row_that_is_due_alone_is_a_batch_of_its_own():
    assert fill_batches(0.1, 200, RHYTHM).rows_per_batch == pytest.approx(1, abs=1e-3)


def test_batch_holds_what_became_due_while_its_dispatcher_was_away():
    fill = fill_batches(1000, 200, RHYTHM)
    assert fill.rows_per_batch == pytest.approx(1000 * fill.cycle_s, rel=0.01)
    assert fill.cycle_s == pytest.approx(0.005 + fill.rows_per_batch * 5e-6, rel=0.01)


def test_batches_are_full_when_rows_are_due_faster_than_they_are_sent():
    assert fill_batches(1e6, 200, RHYTHM).rows_per_batch == 200


def test_dispatchers_with_nothing_due_look_once_each_poll_interval():
    fill = fill_batches(0, 200, RHYTHM, dispatchers=3, tables=2)
    assert fill.looks_per_s == pytest.approx(3 / 0.045)
    assert fill.batches_per_s == 0
    assert fill_batches(1e-9, 200, RHYTHM, dispatchers=3, tables=2).looks_per_s == pytest.approx(3 / 0.045)


# plan


@few
@given(workloads, fleets)
def test_every_figure_is_a_number_that_can_be(workload, fleet):
    plan = make_plan(workload, fleet, CONSTANTS)
    assert plan.late_s > 0
    figures = [plan.redis_bytes, plan.net_in, plan.net_out, plan.warm_up_s, plan.catch_up_s]
    assert all(math.isfinite(figure) and figure >= 0 for figure in figures)
    assert all(part.cores >= 0 and part.busy >= 0 and part.count >= 1 for part in plan.parts)
    assert plan.first.saturates_at <= plan.wall.saturates_at
    assert all(line.isprintable() and line for line in advise(plan))


@few
@given(workloads, st.integers(1, 1000))
def test_open_counts_are_enough_for_the_utilisation_asked_for(workload, batch_size):
    plan = make_plan(workload, Fleet(batch_size=batch_size), CONSTANTS)
    for name in ("worker main processes", "worker processes"):
        assert plan.part(name).share <= plan.fleet.utilisation + 0.01


@few
@given(workloads, st.floats(1.01, 20))
def test_more_load_is_never_less_work(workload, factor):
    fleet = Fleet(dispatchers=2, processes=8)
    little, much = make_plan(workload, fleet, CONSTANTS), make_plan(workload.times(factor), fleet, CONSTANTS)
    for less, more in zip(little.parts, much.parts, strict=True):
        assert more.saturates_at == pytest.approx(less.saturates_at / factor, rel=0.02)
    assert much.redis_bytes == pytest.approx(factor * little.redis_bytes)


@few
@given(workloads, st.integers(1, 1000))
def test_twice_the_full_batches_are_twice_the_work(workload, batch_size):
    fleet = Fleet(dispatchers=1, processes=8, batch_size=batch_size)
    full = replace(workload, groups=(Group(1e9, 1),), gets_per_s=0)
    once, twice = make_plan(full, fleet, CONSTANTS), make_plan(full.times(2), fleet, CONSTANTS)
    for name in ("worker processes", "Redis", "database"):
        assert twice.part(name).busy == pytest.approx(2 * once.part(name).busy, rel=0.01)


def test_twice_the_rows_on_the_same_interval_cost_less_than_twice_as_much():
    once, twice = plan_of((30_000, 60), dispatchers=1), plan_of((60_000, 60), dispatchers=1)
    assert once.part("Redis").busy < twice.part("Redis").busy < 1.9 * once.part("Redis").busy


def test_twice_the_processes_stand_twice_the_load():
    few, many = (plan_of((1e6, 60), dispatchers=n, processes=4 * n) for n in (1, 2))
    for name in ("dispatchers", "worker main processes", "worker processes"):
        assert many.part(name).saturates_at == pytest.approx(2 * few.part(name).saturates_at)
    assert many.part("Redis").saturates_at == few.part("Redis").saturates_at


def test_groups_add_up():
    plan = plan_of((1_000_000, 60), (1_000, 1))
    assert plan.workload.refreshes_per_s == pytest.approx(1_000_000 / 60 + 1_000)
    assert plan.workload.rows == 1_001_000
    assert plan.workload.longest_s == 60


def test_machine_of_twice_the_speed_needs_half_the_processor_time():
    plain, fast = plan_of((1e6, 10), batch_size=1, processes=9), plan_of((1e6, 10), batch_size=1, processes=9, speed=2)
    assert fast.part("database").cores == pytest.approx(plain.part("database").cores / 2)
    assert fast.first.saturates_at == pytest.approx(2 * plain.first.saturates_at, rel=0.01)


def test_network_between_machines_keeps_processes_busy_and_rows_late():
    near, far = plan_of((10_000, 10), processes=4), plan_of((10_000, 10), processes=4, round_trip_s=0.005)
    assert far.late_s > near.late_s + 0.015
    assert far.fill.rows_per_batch > near.fill.rows_per_batch


def test_processes_that_share_a_few_cores_make_fuller_batches():
    own, shared = plan_of((60_000, 10), processes=2), plan_of((60_000, 10), processes=2, cores=2)
    assert shared.fill.rows_per_batch > 1.2 * own.fill.rows_per_batch
    assert shared.late_s > own.late_s
    assert shared.cores < own.cores
    assert plan_of((60_000, 10), processes=2, cores=64).cores == pytest.approx(own.cores, rel=0.01)


def test_gets_take_time_of_redis_only():
    without, with_gets = plan_of((1_000, 10)), plan_of((1_000, 10), gets_per_s=50_000)
    added = 50_000 * CONSTANTS.get_us / 1e6
    assert with_gets.part("Redis").busy == pytest.approx(without.part("Redis").busy + added)
    assert with_gets.part("database") == without.part("database")
    assert any("near cache" in line for line in advise(with_gets))


def test_part_that_saturates_first_is_named_and_then_what_no_process_helps_with():
    plan = plan_of((100_000, 60), dispatchers=1, processes=100, batch_size=10)
    assert plan.first.name == "dispatchers"
    lines = advise(plan)
    assert "dispatchers" in lines[0]
    assert plan.wall.name in lines[1]


def test_load_that_cannot_be_done_is_said_first():
    plan = plan_of((1e9, 1), processes=2)
    assert advise(plan)[0].startswith("too much: ")
    assert plan.late_s == math.inf


def test_connections_are_counted_as_the_page_does():
    plan = plan_of((1_000, 10), dispatchers=2, processes=40)
    assert plan.workers == 10
    assert (plan.connections.redis, plan.connections.database) == (298, 40)


def test_many_connections_to_the_database_are_worth_a_line():
    assert any("max_connections" in line for line in advise(plan_of((1_000, 10), processes=120)))


# numbers that cannot be


@pytest.mark.parametrize(
    ("text", "rows", "every_s"), [("1000000@60", 1e6, 60), ("1M@0.5", 1e6, 0.5), ("1.5k@1", 1500, 1), ("7@7", 7, 7)]
)
def test_rows_and_seconds_are_read(text, rows, every_s):
    assert parse_group(text) == Group(rows, every_s)


@pytest.mark.parametrize(
    "text",
    ["1@0", "0@1", "@", "1@", "@1", "1..2@3", "1G@1", "-1@5", "1@nan", "1@1e5", "1 @ 1", "", "1" * 400 + "@1", "ż"],
)
def test_other_texts_are_one_line(text):
    with pytest.raises(ArgumentError, match="give ROWS@SECONDS, both above 0, like 1000000@60") as caught:
        parse_group(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"row_bytes": 0}, "bytes of JSON of a row is 0: it must be above 0"),
        ({"row_bytes": math.nan}, "it must be a finite number"),
        ({"changed_share": 1.5}, "is 1.5: it must be from 0 to 1"),
        ({"gets_per_s": -1}, "GETs a second is -1: it must be 0 or more"),
        ({"together": 0}, "it must be 1 or more"),
        ({"batch_size": 1001}, "batch size is 1001: it must be from 1 to 1000"),
        ({"utilisation": 0}, "utilisation is 0: it must be from 0.01 to 1"),
        ({"cores": 0}, "cores of the machine is 0: it must be 1 or more"),
        ({"speed": 0}, "speed is 0: it must be above 0"),
        ({"round_trip_s": -1}, "round trip, in seconds is -1: it must be 0 or more"),
        ({"dispatchers": 0}, "number of dispatchers is 0: it must be 1 or more"),
        ({"dispatchers": 10**400}, "it must be from 1 to 1e+12"),
        ({"batch_size": 10**5000}, "it must be from 1 to 1000"),
        ({"gets_per_s": 1e308}, "GETs a second is 1e+308: it must be from 0 to 1e+12"),
    ],
)
def test_number_that_cannot_be_is_one_line(options, words):
    with pytest.raises(ArgumentError, match="must be") as caught:
        plan_of((1, 1), **options)
    assert words in str(caught.value)


def test_interval_that_a_foreign_client_means_as_never_can_be_planned():
    plan = plan_of((1, 1e308))
    assert plan.workload.longest_s == 1e12
    assert 0 < plan.fill.looks_per_s < math.inf


def test_no_rows_are_refused():
    with pytest.raises(ArgumentError, match="there are no rows"):
        plan_of()


# constants


def raw_constants():
    return json.loads(files("rowcache_tasks.ops.capacity").joinpath("constants.json").read_text("utf-8"))


def test_constants_of_the_package_can_be_used_and_say_where_they_are_from():
    constants = load_constants()
    assert len(constants.about) > 20
    plan = make_plan(Workload((Group(1e6, 60),)), Fleet(), constants)
    assert all(part.cores > 0 and part.saturates_at > 0.01 for part in plan.parts)


def test_constants_are_found_in_the_results_of_a_benchmark():
    results = {"sections": {"capacity": {"section": {"figures": {"constants": raw_constants()}}}}}
    assert parse_constants(results) == load_constants()


@pytest.mark.parametrize("raw", [None, [], {}, {"sections": {}}, {"sections": {"capacity": None}}, "text", 7])
def test_file_without_constants_is_one_line(raw):
    with pytest.raises(ArgumentError, match="there are no constants of the capacity model"):
        parse_constants(raw)


@pytest.mark.parametrize(
    "change",
    [
        {"redis": 7},
        {"redis": {"row": -1}},
        {"redis": {"row": "x"}},
        {"redis": {"nope": 1}},
        {"get_us": None},
        {"pass_us": True},
        {"scheduled_per_s": 0},
        {"get_us": 10**400},
        {"get_us": 1e300},
    ],
)
def test_constants_that_cannot_be_are_one_line(change):
    with pytest.raises(ArgumentError, match="the constants cannot be used") as caught:
        parse_constants(raw_constants() | change)
    assert len(str(caught.value).splitlines()) == 1


def test_missing_constant_is_one_line():
    raw = raw_constants()
    del raw["database"]
    with pytest.raises(ArgumentError, match="the constants cannot be used"):
        parse_constants(raw)
