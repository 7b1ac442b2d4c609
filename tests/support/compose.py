"""Compose project in a folder of its own, for a Docker engine that the environment names."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode

from support.project import ROOT
from support.waiting import wait_until


def missing_engine():
    """Return why no Compose file can be run here; empty: nothing is missing."""
    if not shutil.which("docker"):
        return "needs Docker with Compose: make test-containers starts one as root on Debian"
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"needs Docker with Compose: {' '.join(command)} says {done.stderr.strip().splitlines()[-1]}"
    return ""


def copy_checkout(folder):
    """Copy what a clone of the repository would have, as under umask 077."""
    listed = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copyfile(source, target)
            target.chmod(source.stat().st_mode & 0o700)
    for place in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        place.chmod(0o700)
    return folder


class Compose:
    """A project in `folder`; names of its own for containers, network, volumes and image."""

    def __init__(self, folder, name, **variables):
        self.folder = folder
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("ROWCACHE_", "CELERY_"))}
        self.env |= {"COMPOSE_PROJECT_NAME": name, **variables}

    def shell(self, command):
        """Run a line of the documentation; AssertionError with its output when it fails."""
        done = subprocess.run(
            ["bash", "-euc", command], cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr[-3000:]}\n{self._logs()}"
        return done.stdout

    def run(self, *arguments):
        """Run docker, and return its output."""
        done = subprocess.run(
            ["docker", *arguments], cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr[-3000:]}"
        return done.stdout.strip()

    def __call__(self, *arguments):
        """Run docker compose, and return its output."""
        return self.run("compose", *arguments)

    def containers(self, *services):
        """Return what the engine says about the containers, running or not."""
        found = self("ps", "-aq", *services).split()
        return json.loads(self.run("inspect", *found)) if found else []

    def are_healthy(self):
        return all(
            one["State"].get("Health", {"Status": "healthy"})["Status"] == "healthy" for one in self.containers()
        )

    def value(self, key):
        return self("exec", "-T", "valkey", "valkey-cli", "get", key)

    def down(self):
        """Stop and remove everything; returns the seconds that this took."""
        started = time.monotonic()
        self("down", "-v", "--remove-orphans")
        return time.monotonic() - started

    def _logs(self):
        return subprocess.run(
            ["docker", "compose", "logs", "--tail", "20"],
            cwd=self.folder, env=self.env, capture_output=True, text=True, check=False,
        ).stdout[-5000:]  # fmt: skip


def status_of(port, login=None):
    """Return the status that Flower answers with."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/")
    if login:
        request.add_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")

    def ask():
        try:
            return urllib.request.urlopen(request, timeout=10).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    return wait_until(ask, "Flower answers")
