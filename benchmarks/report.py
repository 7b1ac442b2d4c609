"""Own the words around the figures: sections, tables and runs as Markdown."""

import re
from collections.abc import Mapping
from typing import Any

from benchmarks import targets
from benchmarks.results import Result, Results
from benchmarks.section import Table

LIKE_A_NUMBER = re.compile(r"[-+\u2212<>≤≥~×*]*\s?\d[\d.,]*(?!\w)|[-–—]?$")


def whole(results: Results, images: str) -> str:
    """Write everything that there is; `images` is the folder of the charts as seen from the text."""
    parts = [f"## {result.section.title}\n\n{of_section(result, images)}" for result in results.results.values()]
    reached = targets.table(results, is_measured=True)
    if reached.rows:
        parts.append(f"## Targets\n\n{of_table(reached)}")
    if parts:
        parts.append(f"## Runs\n\n{of_runs(results)}")
    return "\n\n".join(parts) + "\n" if parts else ""


def of_section(result: Result, images: str) -> str:
    """Write the tables and charts of a section, without its heading."""
    section = result.section
    names = [(chart.title, chart.name) for chart in section.bars] + [
        (chart.title, chart.name) for chart in section.lines
    ]
    charts = [f"![{title}]({images}/{name}.svg)" for title, name in names]
    return "\n\n".join([*map(of_table, section.tables), *charts, f"*{measured(result)}*"])


def measured(result: Result) -> str:
    """Say when and from what a section was measured, and how much that is worth."""
    run = result.run
    commit = f" at {run['commit']}{' with changes' if run['is_dirty'] else ''}" if run["commit"] else ""
    rough = "; a quick run, so the figures are rough" if run["is_quick"] else ""
    return f"Measured on {run['date'][:10]}{commit}, {result.seconds:,.0f} s{rough}."


def of_table(table: Table) -> str:
    """Write a table; columns of numbers are set to the right."""
    columns = list(zip(*table.rows, strict=True))
    is_number = [bool(cells) and all(LIKE_A_NUMBER.match(cell) for cell in cells) for cells in columns]
    rule = ["--:" if number else "---" for number in is_number] or ["---"] * len(table.columns)
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in [table.columns, rule, *table.rows]]
    text = "\n".join(f"| {line} |" for line in lines)
    return f"{table.caption}\n\n{text}" if table.caption else text


def of_runs(results: Results) -> str:
    """Write what was measured on: a table of the runs, and the machine and versions of each."""
    runs: dict[str, dict[str, Any]] = {result.run["date"]: result.run for result in results.results.values()}
    machines = list(dict.fromkeys(of_machine(run) for run in runs.values()))
    rows = []
    for date, run in sorted(runs.items()):
        found = {name: result.seconds for name, result in results.results.items() if result.run["date"] == date}
        commit = f"{run['commit'] or '?'}{' with changes' if run['is_dirty'] else ''}"
        machine = [f"{machines.index(of_machine(run)) + 1}"] if len(machines) > 1 else []
        cells = [date[:16].replace("T", " "), commit, f"{run['rows']:,}", f"{run['load']:.1f}", ", ".join(found)]
        rows.append([*cells, f"{sum(found.values()):,.0f} s", *machine])
    columns = ["run (UTC)", "commit", "rows", "load before", "cases", "took", *["machine"][: len(machines) - 1]]
    table = of_table(Table(columns, rows))
    texts = machines if len(machines) == 1 else [f"Machine {n}: {text}" for n, text in enumerate(machines, 1)]
    return "\n\n".join([table, *texts])


def of_machine(run: Mapping[str, Any]) -> str:
    """Write one sentence of the machine and one of the versions."""
    packages = ", ".join(f"{name} {version}" for name, version in run["packages"].items())
    return (
        f"{run['cores']} cores of {run['processor']}, {run['memory_gib']:.0f} GiB of memory, {run['system']}. "
        f"{', '.join(run['servers'].values())}, Python {run['python']}, {packages}."
    )
