"""The cases in their order, on servers that they share."""

import importlib
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.options import Options
from benchmarks.progress import elapsed_s, say
from benchmarks.results import Results
from benchmarks.servers import Servers

CASES = ("throughput", "profile", "lateness", "promise", "scale", "idle", "reading")
ON_REQUEST = ("adaptive", "burst", "cluster", "load")
"""Cases that are measured only when they are named."""


def measure(names: Sequence[str], options: Options, results: Results, path: Path) -> list[str]:
    """Run the cases and write results.json after each; return the names of those that failed."""
    busy_percent = machine.check_idleness()
    failed = []
    with ExitStack() as stack:
        servers: Servers | None = None
        run: dict[str, Any] = {}
        for number, name in enumerate(names, 1):
            try:
                if servers is None:
                    say(f"starting Valkey and PostgreSQL with {options.rows:,} rows")
                    servers = stack.enter_context(Servers(options.rows))
                    run = run or machine.describe(servers, busy_percent) | {"is_quick": options.is_quick}
                say(f"{name}, {number} of {len(names)}")
                started = elapsed_s()
                servers.clear()
                section = importlib.import_module(f"benchmarks.cases.{name}").run(servers, options)
                results.put(section, run, elapsed_s() - started)
                results.write(path)
            except Exception:  # noqa: BLE001 - the other cases are worth measuring all the same
                failed.append(name)
                say(f"{name} failed:\n{traceback.format_exc()}")
                stack.close()  # the next case gets new servers
                servers = None
    return failed
