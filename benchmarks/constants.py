"""Copy the constants of the capacity model from the results of the benchmark into the package.

python -m benchmarks --only capacity && python -m benchmarks.constants [results.json]
"""

import json
import sys
from pathlib import Path

from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.ops.capacity.constants import find_constants, parse_constants

ROOT = Path(__file__).resolve().parents[1]
PACKAGED = ROOT / "rowcache_tasks" / "capacity" / "constants.json"


def main(arguments: list[str], target: Path = PACKAGED) -> str:
    """Copy them; gives what was done. Raises OSError, ValueError or ArgumentError, and then changes nothing."""
    source = Path(arguments[0]) if arguments else ROOT / "bench-results" / "results.json"
    raw = json.loads(source.read_text(encoding="utf-8"))
    constants = parse_constants(raw)
    target.write_text(json.dumps(find_constants(raw), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return f"{target.name}: {constants.about}"


if __name__ == "__main__":
    try:
        print(main(sys.argv[1:]))
    except (OSError, ValueError, ArgumentError) as error:
        sys.exit(f"benchmarks.constants: {error}")
