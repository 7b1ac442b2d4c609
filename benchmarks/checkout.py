"""Other checkouts of this package: git worktrees in a temporary folder."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.servers import ROOT

LOCATION = "import rowcache_tasks; print(rowcache_tasks.__file__)"


@contextmanager
def check_out(ref: str) -> Iterator[Path]:
    """Yield the folder with a commit. It runs with the libraries of this environment. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="bench-checkout-") as folder:
        checkout = Path(folder).resolve() / "rowcache_tasks"
        git("worktree", "add", "--quiet", "--detach", str(checkout), ref)
        try:
            env = os.environ | {"PYTHONPATH": str(checkout)}
            found = subprocess.check_output([sys.executable, "-c", LOCATION], cwd=checkout, env=env, text=True)
            assert Path(found.strip()).is_relative_to(checkout), f"{ref} would run {found.strip()}"
            yield checkout
        finally:
            git("worktree", "remove", "--force", str(checkout))


def git(*arguments: str) -> str:
    """Run git in this checkout; return its output."""
    return subprocess.check_output(["git", *arguments], cwd=ROOT, text=True).strip()
