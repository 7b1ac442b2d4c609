"""Own the files that come out: bench-results/, and the pages of the documentation with their charts."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import chart, page, report, summary, targets
from benchmarks.results import Results
from benchmarks.run import CASES
from benchmarks.section import Bars, Lines

ROOT = Path(__file__).resolve().parents[1]
CHARTS = ROOT / "docs" / "benchmarks"
PAGES = [ROOT / "README.md", ROOT / "docs" / "benchmarks.md"]


def folder(is_quick: bool) -> Path:
    """Name where results go; quick ones never mix with others."""
    return ROOT / "bench-results" / "quick" if is_quick else ROOT / "bench-results"


def shown(path: Path) -> str:
    """Name a path as seen from the checkout."""
    return str(path.relative_to(ROOT))


def write(results: Results, names: Sequence[str], into: Path) -> str:
    """Write the charts and report.md of all results; gives the report of those named."""
    write_charts(results, into)
    (into / "report.md").write_text(report.whole(results.of(CASES), "."), encoding="utf-8")
    return report.whole(results.of([name for name in CASES if name in names]), shown(into))


def write_charts(results: Results, into: Path) -> None:
    """Write each chart into a file of its name."""
    into.mkdir(parents=True, exist_ok=True)
    for each in charts(results):
        (into / f"{each.name}.svg").write_text(chart.draw(each), encoding="utf-8")


def charts(results: Results) -> Iterator[Bars | Lines]:
    """Give the charts of all sections."""
    for result in results.results.values():
        yield from result.section.bars
        yield from result.section.lines


def parts(results: Results, images: str) -> dict[str, str]:
    """Give what goes into the places of the pages."""
    sections = {name: report.of_section(result, images) for name, result in results.results.items()}
    return sections | {
        "summary": report.of_table(summary.table(results)),
        "targets": report.of_table(targets.table(results)),
        "runs": report.of_runs(results),
    }


def check_pages() -> None:
    """See that each place of the pages is known, and that each case has one. Raises PageError."""
    found = [(path, name) for path in existing() for name in page.places(shown(path), path.read_text(encoding="utf-8"))]
    known = {*CASES, "summary", "targets", "runs"}
    for path, name in found:
        if name not in known:
            raise page.PageError(f"{shown(path)}: nothing is called {name!r}, only {', '.join(sorted(known))}")
    for name in CASES:
        if name not in [place for _, place in found]:
            raise page.PageError(f"no page has a place for {name}: add <!-- begin: {name} --> and <!-- end: {name} -->")


def existing() -> list[Path]:
    """Give the pages that there are."""
    return [path for path in PAGES if path.exists()]


def write_pages(results: Results) -> None:
    """Put the results into the pages, and the charts beside them."""
    write_charts(results, CHARTS)
    for path in existing():
        images = str(CHARTS.relative_to(path.parent))
        text = page.fill(shown(path), path.read_text(encoding="utf-8"), parts(results, images))
        path.write_text(text, encoding="utf-8")
