"""Child process that runs a Python program in a fork of the fork server."""

import sys
from pathlib import Path

from support.fork_server import ForkedProcess

from demo.servers import Child


def python_child(argv, *, env, log, cwd):
    """Return a Child for [sys.executable, "-m", …]: a fork, unless only a new interpreter does what `env` asks for."""
    folders = env.get("PYTHONPATH", "").split(":")
    is_plain = "LD_PRELOAD" not in env and not any(Path(folder, "sitecustomize.py").exists() for folder in folders)
    return (ForkedChild if is_plain and sys.platform == "linux" else Child)(argv, env=env, log=log, cwd=cwd)


class ForkedChild(Child):
    """Child as any other, but for its start."""

    def start(self):
        if not self.is_running:
            self._log_start = self.log.stat().st_size if self.log.exists() else 0
            self._process = ForkedProcess(self.argv, env=self._env, cwd=self._cwd, stdout=self.log, stderr=self.log)
            self._swept = False
