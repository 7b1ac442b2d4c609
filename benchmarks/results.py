"""Results of all cases, and their file results.json."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.section import Section


@dataclass
class Result:
    """Result of one case, the run that it is from, and the seconds that it took."""

    section: Section
    run: dict[str, Any]
    seconds: float


@dataclass
class Results:
    """Latest result of each case, by the name of the case."""

    results: dict[str, Result] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read the file. Without one there are no results; one of another form is renamed to results.old.json."""
        if not path.exists():
            return cls()
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except msgspec.DecodeError:
            path.replace(path.with_suffix(".old.json"))
            return cls()

    def put(self, section: Section, run: dict[str, Any], seconds: float) -> None:
        """Replace the result of a case."""
        self.results[section.name] = Result(section, run, round(seconds, 1))

    def of(self, names: Sequence[str]) -> "Results":
        """Return the results of some cases, in that order."""
        return Results({name: self.results[name] for name in names if name in self.results})

    def write(self, path: Path) -> None:
        """Write the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        temporary.replace(path)
