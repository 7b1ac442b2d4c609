"""Own results.json: what each run found, and how a later run of some cases joins an earlier one of others.

{"runs": {"<date>": {machine, versions, commit, options}},
 "sections": {"<case>": {"run": "<date>", "seconds": 54.2, "section": {…}}}}
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.section import Section


class ResultsError(Exception):
    """results.json cannot be used; the message is one line and says what to do."""


@dataclass
class Result:
    """What one case found, in which run, and how long that took."""

    section: Section
    run: dict[str, Any]
    seconds: float


@dataclass
class Results:
    """The latest result of each case, by the name of the case."""

    results: dict[str, Result] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read the file; empty when there is none."""
        if not path.exists():
            return cls()
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                {
                    name: Result(Section.from_json(entry["section"]), held["runs"][entry["run"]], entry["seconds"])
                    for name, entry in held["sections"].items()
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ResultsError(f"cannot read {path}: {error!r}; remove it and measure again") from error

    def put(self, result: Result) -> None:
        """Take the result of a case in the place of an earlier one. Raises ValueError or TypeError: no JSON."""
        json.dumps(result.section.as_json(), allow_nan=False)
        self.results[result.section.name] = result

    def of(self, names: Sequence[str]) -> "Results":
        """Give the results of some cases, in that order."""
        return Results({name: self.results[name] for name in names if name in self.results})

    def write(self, path: Path) -> None:
        """Write the file; runs of which no section is left are left out."""
        path.parent.mkdir(parents=True, exist_ok=True)
        held = {
            "runs": {result.run["date"]: result.run for result in self.results.values()},
            "sections": {
                name: {
                    "run": result.run["date"],
                    "seconds": round(result.seconds, 1),
                    "section": result.section.as_json(),
                }
                for name, result in self.results.items()
            },
        }
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)
