"""Pages of the documentation, and the results in them.

The places of results are between <!-- begin: name --> and <!-- end: name -->.

The rest of a page is written by hand and never changed.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks import chart, report, summary, targets
from benchmarks.results import Results
from benchmarks.servers import ROOT

PLACE = re.compile(r"^<!-- begin: (\S+) -->$.*?^<!-- end: \1 -->$", re.MULTILINE | re.DOTALL)
MARKER = re.compile(r"^<!-- (?:begin|end): \S+ -->$", re.MULTILINE)
PAGES = (ROOT / "docs" / "benchmarks.md",)
CHARTS = ROOT / "docs" / "benchmarks"


class PageError(Exception):
    """A page has no place for a result, or a place without a result."""


def parts(results: Results, images: str) -> dict[str, str]:
    """Return the text of each place."""
    sections = {name: report.of_section(result, images) for name, result in results.results.items()}
    return sections | {
        "summary": report.of_table(summary.table(results)),
        "targets": report.of_table(targets.table(results)),
        "runs": report.of_runs(results),
    }


def check(cases: tuple[str, ...]) -> None:
    """Check that the pages have a place for each case, and no other ones. Raises PageError."""
    found: list[str] = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        names = [place[1] for place in PLACE.finditer(text)]
        if 2 * len(names) != len(MARKER.findall(text)):
            raise PageError(f"{path.relative_to(ROOT)}: each <!-- begin: name --> needs one <!-- end: name -->")
        found += names
    wanted = [*cases, "summary", "targets", "runs"]
    if sorted(found) != sorted(wanted):
        raise PageError(f"the pages have places for {', '.join(found)}; wanted are {', '.join(wanted)}")


def fill(text: str, texts: Mapping[str, str]) -> str:
    """Put texts into their places; a place without a text stays as it is."""

    def replaced(place: re.Match[str]) -> str:
        name = place[1]
        return f"<!-- begin: {name} -->\n\n{texts[name].strip()}\n\n<!-- end: {name} -->" if name in texts else place[0]

    return PLACE.sub(replaced, text)


def write(results: Results) -> None:
    """Put the results into the pages, and the charts beside them."""
    write_charts(results, CHARTS)
    for path in PAGES:
        images = str(CHARTS.relative_to(path.parent))
        path.write_text(fill(path.read_text(encoding="utf-8"), parts(results, images)), encoding="utf-8")


def write_charts(results: Results, folder: Path) -> None:
    """Draw all charts into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in results.results.values():
        for each in result.section.charts:
            chart.draw(each, folder / f"{each.name}.svg")
