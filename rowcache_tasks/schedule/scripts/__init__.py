"""Own the Lua files: load each by its name. Must not know what they mean.

One file is one atomic operation in Redis. Each starts with a header: what it does, KEYS and ARGV as `name TYPE` in
the order in which the body unpacks them (`...`: as many as are left), and what it RETURNS. A script reads the time
from the server and touches only its KEYS and the values at value_prefix + row id (and the notes of fills before which
fill_prefix stands), all of which lie on one server.
Statistics and the list of batches are used with pcall: nothing that is wrong with them holds up a row.
"""

import hashlib
from functools import cache
from importlib.resources import files

__all__ = ["SCRIPT_NAMES", "digest_of", "load_script"]

SCRIPT_NAMES = (
    "begin_fill",
    "check_clock",
    "claim_entry",
    "claim_rows",
    "commit_rows",
    "drop_rows",
    "drop_table",
    "end_fill",
    "lease_rows",
    "miss_rows",
    "pause_table",
    "put_rows",
    "release_rows",
    "repair_rows",
    "touch_rows",
)


@cache
def load_script(name: str) -> str:
    """Return the text of a script; the files are package data."""
    return files(__name__).joinpath(f"{name}.lua").read_text("utf-8")


@cache
def digest_of(name: str) -> str:
    """Return the name by which a server knows a script that it has loaded."""
    return hashlib.sha1(load_script(name).encode(), usedforsecurity=False).hexdigest()
