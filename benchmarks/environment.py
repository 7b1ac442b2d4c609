"""Own the environments of contenders: each has its pinned packages in .venv/bench/<name>, made once and kept.

Knows nothing of what runs in them.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.progress import progress

HOME = Path(__file__).parents[1] / ".venv" / "bench"

INSTALL_S = 300.0
"""Longest time for one installation; an index that does not answer is given up much earlier."""


class NoEnvironmentError(Exception):
    """An environment could not be made; the message is one line and says why. Leave the contender out and show it."""


def same(*names: str) -> list[str]:
    """Pin packages to the versions that this process has: contenders use the same drivers as we do."""
    return [f"{name}=={version(name.partition('[')[0])}" for name in names]


def python(name: str, packages: Sequence[str]) -> str:
    """Give the interpreter of the environment `name` that has the packages, such as "rq==3.0.0"; make it if needed.

    An environment that has a stamp with the same packages is used as it is: nothing is installed and no index asked.
    Raises NoEnvironmentError.
    """
    folder = HOME / name
    interpreter = folder / "bin" / "python"
    stamp = folder / "packages.txt"
    wanted = "\n".join([sys.version.split()[0], *sorted(packages), ""])
    if stamp.exists() and stamp.read_text() == wanted and interpreter.exists():
        return str(interpreter)
    progress.say(f"not counted: installing .venv/bench/{name} with {', '.join(packages)}")
    with progress.uncounted():
        shutil.rmtree(folder, ignore_errors=True)
        _run(name, packages, [sys.executable, "-m", "venv", str(folder)])
        # Not the default of five retries: without a network that takes a minute for each package.
        options = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries=1", "--timeout=20"]
        _run(name, packages, [str(interpreter), "-m", "pip", "install", *options, *packages])
        stamp.write_text(wanted)
    return str(interpreter)


def _run(name: str, packages: Sequence[str], argv: list[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, check=False, text=True, timeout=INSTALL_S)
        reason = "" if done.returncode == 0 else _first_error(done.stderr or done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    if reason:
        more = f" and {len(packages) - 1} more" if len(packages) > 1 else ""
        raise NoEnvironmentError(f"{name} is left out: cannot install {packages[0]}{more}: {reason}")


def _first_error(output: str) -> str:
    """Give what pip says first of why it failed; what follows are hints."""
    if "connection broken" in output:
        return "the package index does not answer"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    return [*errors, *lines[-1:], "no message"][0]
