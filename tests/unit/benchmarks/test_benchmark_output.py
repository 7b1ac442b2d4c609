import pytest

from benchmarks import output
from benchmarks.page import PageError
from benchmarks.results import Result, Results
from benchmarks.run import CASES
from benchmarks.section import Bar, Bars, Section, Table

RUN = {
    "date": "2026-11-23T05:00:00+00:00",
    "commit": None,
    "is_dirty": None,
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
}


def place(name):
    return f"<!-- begin: {name} -->\n<!-- end: {name} -->\n"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with two pages that have a place for everything."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# Title\n\n" + place("reading"))
    (tmp_path / "docs" / "page.md").write_text("".join(map(place, [name for name in CASES if name != "reading"])))
    monkeypatch.setattr(output, "ROOT", tmp_path)
    monkeypatch.setattr(output, "CHARTS", tmp_path / "docs" / "benchmarks")
    monkeypatch.setattr(output, "PAGES", [tmp_path / "README.md", tmp_path / "docs" / "page.md", tmp_path / "gone.md"])
    return tmp_path


@pytest.fixture
def results():
    results = Results()
    for name in ("idle", "reading"):
        bars = Bars(f"{name}-bars", f"Bars of {name}", "rows/s", [Bar("ours", 1.0, 0.5, 2.0, is_ours=True)])
        results.put(Result(Section(name, name, [Table(["what"], [[f"cell of {name}"]])], [bars]), RUN, 1.0))
    return results


def test_pages_of_this_checkout_have_a_place_for_every_case():
    output.check_pages()


def test_pages_get_their_sections_and_the_way_to_the_charts(checkout, results):
    output.check_pages()
    output.write_pages(results)

    readme, page = (checkout / "README.md").read_text(), (checkout / "docs" / "page.md").read_text()
    assert "cell of reading" in readme
    assert "![Bars of reading](docs/benchmarks/reading-bars.svg)" in readme
    assert "![Bars of idle](benchmarks/idle-bars.svg)" in page
    assert place("scale") in page
    assert sorted(path.name for path in (checkout / "docs" / "benchmarks").iterdir()) == [
        "idle-bars.svg",
        "reading-bars.svg",
    ]


def test_report_has_all_results_and_what_is_printed_only_those_asked_for(checkout, results):
    printed = output.write(results, ["idle"], checkout / "results")

    assert "cell of idle" in printed
    assert "cell of reading" not in printed
    assert "![Bars of idle](results/idle-bars.svg)" in printed
    report = (checkout / "results" / "report.md").read_text()
    assert report.index("cell of idle") < report.index("cell of reading")
    assert "![Bars of reading](./reading-bars.svg)" in report


def test_place_of_nothing_is_refused(checkout):
    (checkout / "README.md").write_text(place("reading") + place("readings"))

    with pytest.raises(PageError, match=r"^README.md: nothing is called 'readings', only idle, .*$"):
        output.check_pages()


def test_case_without_a_place_is_refused(checkout):
    (checkout / "README.md").write_text("# Title\n")

    with pytest.raises(PageError, match=r"^no page has a place for reading: add <!-- begin: reading --> and .*$"):
        output.check_pages()
