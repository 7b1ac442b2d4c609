import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcache_tasks.config.settings import parse_settings
from rowcache_tasks.ops.cli.access import MistypedError
from rowcache_tasks.ops.cli.plan import advise, parse_group
from rowcache_tasks.ops.plan import GET_US, Group, Plan

few = settings(max_examples=40, deadline=None)

groups = st.builds(Group, st.floats(1, 1e7), st.floats(0.05, 1e5))
work = {
    "groups": st.lists(groups, min_size=1, max_size=4).map(tuple),
    "row_bytes": st.floats(2, 1e5),
    "changed_share": st.floats(0, 1),
    "gets_per_s": st.floats(0, 1e5),
    "tables": st.integers(1, 20),
    "together": st.floats(1, 500),
}
deployment = {
    "dispatchers": st.none() | st.integers(1, 10),
    "processes": st.none() | st.integers(1, 100),
    "batch_size": st.integers(1, 1000),
    "round_trip_s": st.floats(0, 0.05),
    "speed": st.floats(0.1, 10),
    "cores": st.none() | st.integers(1, 64),
}


def plan_of(*rows, **options):
    return Plan(groups=tuple(Group(*group) for group in rows), **options)


def batches_of(rate, dispatchers=1, **options):
    return plan_of((rate, 1), dispatchers=dispatchers, **options).batches


def times(plan, factor):
    scaled = tuple(replace(group, rows=group.rows * factor) for group in plan.groups)
    return replace(plan, groups=scaled, gets_per_s=plan.gets_per_s * factor)


def test_defaults_are_those_of_the_settings():
    default = parse_settings({"rowcache_redis_url": "redis://h/0", "rowcache_tables": {"inv": {"table": "inv"}}})
    on = plan_of((1, 1))
    assert (on.batch_size, on.poll_interval_s) == (default.batch_size, default.poll_interval_s)


# batches


@few
@given(st.floats(0.01, 1e6), st.integers(1, 1000), st.integers(1, 10), st.integers(1, 10), st.floats(1, 1000))
def test_batches_hold_all_rows_and_are_neither_empty_nor_too_full(rate, size, dispatchers, tables, together):
    made = batches_of(rate, dispatchers, batch_size=size, tables=tables, together=together)
    assert made.per_s * made.rows == pytest.approx(rate)
    assert 1 - 1e-9 <= made.rows <= size
    assert made.looks_per_s == pytest.approx(dispatchers / 0.05)
    assert made.wait_s >= 0


@few
@given(st.floats(0.01, 1e5), st.floats(1.01, 10))
def test_batches_are_fuller_when_more_rows_are_due(rate, factor):
    assert batches_of(rate * factor).rows >= batches_of(rate).rows * (1 - 1e-6)


@few
@given(st.floats(1, 1e5), st.integers(1, 5))
def test_more_dispatchers_make_smaller_batches(rate, dispatchers):
    assert batches_of(rate, dispatchers + 1).rows <= batches_of(rate, dispatchers).rows * (1 + 1e-6)


def test_row_that_is_due_alone_is_a_batch_of_its_own():
    assert batches_of(0.1).rows == pytest.approx(1, abs=1e-3)


def test_batches_are_full_when_rows_are_due_faster_than_they_are_sent():
    assert batches_of(1e6).rows == 500


def test_batches_that_no_worker_has_started_make_the_pause_longer():
    assert batches_of(5_000, round_trip_s=0.003).rows > 3 * batches_of(5_000).rows


# plan


@few
@given(st.builds(Plan, **work, **deployment))
def test_every_figure_is_a_number_that_can_be(made):
    plan = made.figures
    assert plan["late_s"] > 0
    figures = [value for value in plan.values() if isinstance(value, float) and value is not plan["late_s"]]
    assert all(math.isfinite(figure) and figure >= 0 for figure in figures)
    assert all(part.cores >= 0 and part.busy >= 0 and part.count >= 1 for part in plan["parts"].values())
    assert plan["first_to_saturate"] in plan["parts"]
    assert all(line.isprintable() and line for line in advise(made))


@few
@given(st.builds(Plan, **work, batch_size=st.integers(1, 1000)))
def test_open_counts_are_enough_for_the_utilisation_asked_for(plan):
    for name in ("worker main processes", "worker processes"):
        assert plan.parts[name].busy <= plan.utilisation + 0.01


@few
@given(st.builds(Plan, **work, dispatchers=st.just(2), processes=st.just(8)), st.floats(1.01, 20))
def test_limit_of_each_part_falls_as_the_load_grows(plan, factor):
    little, much = plan.figures, times(plan, factor).figures
    for name, part in little["parts"].items():
        assert much["parts"][name].saturates_at == pytest.approx(part.saturates_at / factor)
    assert much["redis_bytes"] == pytest.approx(factor * little["redis_bytes"])


def test_twice_the_rows_on_the_same_interval_cost_less_than_twice_as_much():
    once, twice = (plan_of((rows, 60), dispatchers=1).parts["Redis"].busy for rows in (30_000, 60_000))
    assert once < twice < 1.9 * once


def test_twice_the_processes_stand_twice_the_load():
    few, many = (plan_of((1e6, 60), dispatchers=n, processes=4 * n).parts for n in (1, 2))
    for name in ("dispatchers", "worker main processes", "worker processes"):
        assert many[name].saturates_at == pytest.approx(2 * few[name].saturates_at)
    assert many["Redis"].saturates_at == few["Redis"].saturates_at


def test_groups_add_up():
    plan = plan_of((1_000_000, 60), (1_000, 1)).figures
    assert plan["refreshes_per_s"] == pytest.approx(1_000_000 / 60 + 1_000)
    assert plan["rows"] == 1_001_000
    assert plan["warm_up_s"] >= 60


def test_machine_of_twice_the_speed_needs_half_the_processor_time():
    plain, fast = (plan_of((1e6, 10), batch_size=1, processes=9, speed=speed).parts["database"] for speed in (1, 2))
    assert fast.cores == pytest.approx(plain.cores / 2)
    assert fast.saturates_at == pytest.approx(2 * plain.saturates_at)


def test_network_between_machines_makes_rows_late():
    near, far = (plan_of((10_000, 10), processes=4, round_trip_s=trip_s).figures for trip_s in (0, 0.005))
    assert far["late_s"] > near["late_s"] + 0.015
    assert far["rows_per_batch"] > near["rows_per_batch"]


def test_one_machine_for_everything_is_a_part_that_may_be_the_limit():
    plan = plan_of((60_000, 10), processes=8, cores=1).figures
    assert plan["first_to_saturate"] == "the machine"
    assert plan["parts"]["the machine"].cores == pytest.approx(plan["cores"])
    assert plan["parts"]["the machine"].saturates_at > 1 / plan["parts"]["the machine"].busy


def test_gets_take_time_of_redis_only():
    without, with_gets = plan_of((1_000, 10)), plan_of((1_000, 10), gets_per_s=50_000)
    added = 50_000 * GET_US / 1e6
    assert with_gets.parts["Redis"].busy == pytest.approx(without.parts["Redis"].busy + added)
    assert with_gets.parts["database"] == without.parts["database"]
    assert any("near cache" in line for line in advise(with_gets))


def test_part_that_saturates_first_is_named_and_then_the_limit_of_more_processes():
    plan = plan_of((100_000, 60), dispatchers=1, processes=100, batch_size=10)
    assert plan.figures["first_to_saturate"] == "dispatchers"
    first, limit, *_ = advise(plan)
    assert first.startswith("first to saturate: dispatchers")
    assert limit.startswith("with more processes: Redis is the limit")


def test_load_that_cannot_be_done_is_said_first():
    plan = plan_of((1e9, 1), processes=2)
    assert advise(plan)[0].startswith("too much: ")
    assert plan.figures["late_s"] == math.inf


def test_connections_are_counted_as_the_page_does():
    plan = plan_of((1_000, 10), dispatchers=2, processes=40).figures
    assert plan["workers"] == 10
    assert (plan["redis_connections"], plan["database_connections"]) == (298, 40)


def test_many_connections_to_the_database_are_worth_a_line():
    assert any("max_connections" in line for line in advise(plan_of((1_000, 10), processes=120)))


# rows and seconds


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
    with pytest.raises(MistypedError, match="give ROWS@SECONDS, both from 1e-09 to 1e") as caught:
        parse_group(text)
    assert len(str(caught.value).splitlines()) == 1
