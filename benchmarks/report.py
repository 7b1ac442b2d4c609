"""Results as Markdown: sections, tables and runs."""

import re
from typing import Any

from benchmarks import targets
from benchmarks.results import Result, Results
from benchmarks.section import Table

LIKE_A_NUMBER = re.compile(r"[-+\u2212<>≤≥~×*]*\s?\d[\d.,]*(?!\w)|[-–—]?$")


def whole(results: Results, images: str) -> str:
    """Write all results; `images` is the folder of the charts as seen from the text."""
    if not results.results:
        return ""
    parts = [f"## {each.section.title}\n\n{of_section(each, images)}" for each in results.results.values()]
    parts += [f"## Targets\n\n{of_table(targets.table(results))}", f"## Runs\n\n{of_runs(results)}"]
    return "\n\n".join(parts) + "\n"


def of_section(result: Result, images: str) -> str:
    """Write the tables and charts of a section, without its heading."""
    charts = [f"![{chart.title}]({images}/{chart.name}.svg)" for chart in result.section.charts]
    return "\n\n".join([*map(of_table, result.section.tables), *charts, f"*{measured(result)}*"])


def measured(result: Result) -> str:
    """Write when and from which commit a section was measured."""
    run = result.run
    rough = "; a quick run, so the figures are rough" if run["is_quick"] else ""
    return f"Measured on {run['date'][:10]} at {commit_of(run)}, {result.seconds:,.0f} s{rough}."


def commit_of(run: dict[str, Any]) -> str:
    """Name the commit of a run."""
    return f"{run['commit'] or 'an unknown commit'}{' with changes' if run['is_dirty'] else ''}"


def of_table(table: Table) -> str:
    """Write a table; columns of numbers are aligned to the right."""
    columns = list(zip(*table.rows, strict=True))
    is_number = [bool(cells) and all(LIKE_A_NUMBER.match(cell) for cell in cells) for cells in columns]
    rule = ["--:" if number else "---" for number in is_number] or ["---"] * len(table.columns)
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in [table.columns, rule, *table.rows]]
    text = "\n".join(f"| {line} |" for line in lines)
    return f"{table.caption}\n\n{text}" if table.caption else text


def of_runs(results: Results) -> str:
    """Write the runs as a table, and the machines and versions of them."""
    runs: dict[str, dict[str, Any]] = {result.run["date"]: result.run for result in results.results.values()}
    rows = []
    for date, run in sorted(runs.items()):
        found = {name: result.seconds for name, result in results.results.items() if result.run["date"] == date}
        cells = [date[:16].replace("T", " "), commit_of(run), f"{run['rows']:,}", f"{run['busy_percent']:.0f} %"]
        rows.append([*cells, ", ".join(found), f"{sum(found.values()):,.0f} s"])
    columns = ["run (UTC)", "commit", "rows", "other load before", "cases", "took"]
    machines = dict.fromkeys(f"{run['machine']}. {run['versions']}." for run in runs.values())
    return "\n\n".join([of_table(Table(columns, rows)), *machines])
