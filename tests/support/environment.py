"""Environments that hold the distributions of some extras and no others, made of links into this one."""

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from support.project import ROOT

NAME = "rowcache-tasks"


def distributions(*requirements):
    """Names of the distributions that pip would install for some requirements."""
    found, left = {}, [Requirement(text) for text in requirements]
    while left:
        wanted = left.pop()
        extras = found.setdefault(wanted.name.lower(), set())
        new = ({"", *wanted.extras}) - extras
        extras |= new
        for text in distribution(wanted.name).requires or () if new else ():
            requirement = Requirement(text)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in new):
                left.append(requirement)
    return set(found)


def make_environment(folder, *requirements):
    """Link the modules of these requirements and of the package into a folder."""
    folder.mkdir()
    (folder / "rowcache_tasks").symlink_to(ROOT / "rowcache_tasks")
    for name in distributions(NAME, *requirements):
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files} - {"..", "__pycache__"}:
            if not top.endswith(".pth") and not (folder / top).exists():
                (folder / top).symlink_to(Path(installed.locate_file(top)))
    return folder


def run_in(environment, *arguments, cwd, **variables):
    """Run Python without any other module than those of the standard library, the environment and the directory."""
    variables = os.environ | {"PYTHONPATH": str(environment)} | variables
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False, timeout=180)
