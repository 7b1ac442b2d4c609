import json

import pytest

from benchmarks import report, targets
from benchmarks.results import Result, Results, ResultsError
from benchmarks.section import Bar, Bars, Line, Lines, Section, Table


def run(date, **changed):
    return {
        "date": date,
        "commit": "abc1234567",
        "is_dirty": False,
        "is_quick": False,
        "rows": 1_000_000,
        "cores": 2,
        "processor": "a processor",
        "memory_gib": 23.5,
        "system": "Linux 6.1",
        "python": "3.11.7",
        "servers": {"cache": "Valkey 9.1.2", "database": "PostgreSQL 18.6"},
        "packages": {"celery": "5.7.0"},
        "load": 0.25,
    } | changed


def section(name, **figures):
    table = Table(["what", "rate"], [["ours | theirs", "1,234 (1,200–1,300)"]], "What is shown.")
    bars = Bars(f"{name}-bars", "Bars", "rows/s", [Bar("ours", 1.0, 0.5, 2.0, is_ours=True)])
    lines = Lines(f"{name}-lines", "Lines", "n", "ms", [Line("ours", [1.0], [2.0])])
    return Section(name, name.title(), [table], [bars], [lines], figures)


def test_results_are_read_as_they_were_written(tmp_path):
    results = Results()
    results.put(Result(section("reading", ratio=1.5), run("2026-11-23T05:00:00+00:00"), 12.0))
    results.write(tmp_path / "new" / "results.json")

    assert Results.read(tmp_path / "new" / "results.json") == results


def test_later_run_takes_the_place_of_its_cases_and_keeps_the_others_with_their_run(tmp_path):
    path = tmp_path / "results.json"
    first = Results()
    for name in ("reading", "idle"):
        first.put(Result(section(name, value=1), run("2026-11-23T05:00:00+00:00", commit="first"), 1.0))
    first.write(path)

    later = Results.read(path)
    later.put(Result(section("idle", value=2), run("2026-11-24T05:00:00+00:00", commit="later"), 1.0))
    later.write(path)

    found = Results.read(path).results
    assert {name: (result.run["commit"], result.section.figures["value"]) for name, result in found.items()} == {
        "reading": ("first", 1),
        "idle": ("later", 2),
    }


def test_runs_of_which_nothing_is_left_are_forgotten(tmp_path):
    path = tmp_path / "results.json"
    for date in ("2026-11-23T05:00:00+00:00", "2026-11-24T05:00:00+00:00"):
        results = Results.read(path)
        results.put(Result(section("idle"), run(date), 1.0))
        results.write(path)

    assert list(json.loads(path.read_text())["runs"]) == ["2026-11-24T05:00:00+00:00"]


@pytest.mark.parametrize("text", ["{", "[]", '{"runs": {}, "sections": {"idle": {"run": "x"}}}'])
def test_file_that_is_no_result_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)

    with pytest.raises(ResultsError) as caught:
        Results.read(path)

    assert "remove it and measure again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_figures_that_are_no_json_are_refused_before_they_are_kept():
    results = Results()

    with pytest.raises(ValueError, match="JSON"):
        results.put(Result(section("idle", ratio=float("inf")), run("2026-11-23T05:00:00+00:00"), 1.0))

    assert not results.results


def test_table_sets_numbers_to_the_right_and_keeps_bars_in_cells():
    table = Table(["what", "rate", ""], [["a|b", "1,234 (1–2)", "12ab34"], ["c", "≤ 0.5", ""]], "Caption.")

    assert report.of_table(table).splitlines() == [
        "Caption.",
        "",
        "| what | rate |  |",
        "| --- | --: | --- |",
        "| a\\|b | 1,234 (1–2) | 12ab34 |",
        "| c | ≤ 0.5 |  |",
    ]


def test_section_has_its_tables_its_charts_and_when_it_was_measured():
    result = Result(section("idle"), run("2026-11-23T05:00:00+00:00", is_dirty=True, is_quick=True), 12.3)

    text = report.of_section(result, "benchmarks")

    assert "| ours \\| theirs | 1,234 (1,200–1,300) |" in text
    assert "![Bars](benchmarks/idle-bars.svg)\n\n![Lines](benchmarks/idle-lines.svg)" in text
    assert text.endswith(
        "*Measured on 2026-11-23 at abc1234567 with changes, 12 s; a quick run, so the figures are rough.*"
    )


def test_runs_name_the_machine_once_and_number_machines_that_differ():
    results = Results()
    results.put(Result(section("idle"), run("2026-11-23T05:00:00+00:00"), 1.0))
    results.put(Result(section("reading"), run("2026-11-24T05:00:00+00:00"), 1.0))
    alike = report.of_runs(results)
    results.put(Result(section("scale"), run("2026-11-25T05:00:00+00:00", cores=64), 1.0))
    different = report.of_runs(results)

    assert alike.count("2 cores of a processor, 24 GiB of memory, Linux 6.1.") == 1
    assert "Machine" not in alike
    assert "Machine 1: 2 cores" in different
    assert "Machine 2: 64 cores" in different


def test_targets_say_what_is_met_what_is_missed_and_what_was_not_measured(monkeypatch):
    monkeypatch.setattr(
        targets,
        "TARGETS",
        (
            targets.Target("claims", "idle", lambda f: f["claims"], 25, " a second"),
            targets.Target("speed", "idle", lambda f: f["speed"], 40, "×", is_least=True),
            targets.Target("lost figure", "idle", lambda f: f["gone"]["away"], 1, ""),
            targets.Target("other case", "scale", lambda f: f["x"], 1, ""),
        ),
    )
    results = Results()
    results.put(Result(section("idle", claims=20.5, speed=39.96), run("2026-11-23T05:00:00+00:00"), 1.0))

    assert targets.table(results).rows == [
        ["claims", "≤ 25 a second", "20.5 a second", "met"],
        ["speed", "≥ 40×", "40.0×", "**missed**"],
        ["lost figure", "≤ 1", "not measured yet", ""],
        ["other case", "≤ 1", "not measured yet", ""],
    ]
    assert targets.lost(results) == ["lost figure"]
