"""Lua scripts, one atomic operation in a file, and their loader.

A script starts with a header: its purpose, KEYS and ARGV as `name TYPE` in the order in which the body binds them
(`...`: as many as are left), and what it RETURNS. It takes the time from the server and touches only its KEYS and the
values and fills of its rows, all on one server. Counters and the list of batches are used with pcall, so that a wrong
type of theirs holds up no row.
"""

import re
from importlib.resources import files

__all__ = ["read_source", "script_names"]

INCLUDE = re.compile(r"^-- @include (\w+)\n", re.M)


def script_names() -> list[str]:
    """Return the names of all scripts."""
    return sorted(path.name[:-4] for path in files(__name__).iterdir() if path.name.endswith(".lua"))


def read_source(name: str) -> str:
    """Return a script with its comments, each `-- @include NAME` replaced by the fragment include/NAME.lua."""
    source = files(__name__).joinpath(f"{name}.lua").read_text("utf-8")
    return INCLUDE.sub(lambda found: read_source(f"include/{found[1]}"), source)
