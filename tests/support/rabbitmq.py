"""Private RabbitMQ cluster, started from the programs of the machine."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from support.free_port import free_port
from support.waiting import wait_until

PROGRAMS = ("erl", "epmd")
NEWEST_HOMES = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))


def missing_programs():
    """Return the programs that are not installed."""
    return [name for name in PROGRAMS if not shutil.which(name)] + ([] if NEWEST_HOMES else ["rabbitmq-server"])


class RabbitMQ:
    """Nodes on loopback that form one cluster, with a port mapper and a cookie of their own; user guest."""

    def __init__(self, nodes=1):
        self._home = Path(tempfile.mkdtemp(prefix="rabbitmq"))
        self._epmd = free_port()
        self.ports = [free_port() for _ in range(nodes)]
        self.manager_port = free_port()
        self._processes = {}

    def __enter__(self):
        try:
            for node in range(len(self.ports)):
                self._start(node)
            for node in range(len(self.ports)):
                self._await(node)
                if node:
                    for command in ("stop_app", "reset", f"join_cluster {self._name(0)}", "start_app"):
                        self.control(node, *command.split())
        except BaseException:
            self.__exit__()
            raise
        return self

    def _name(self, node):
        return f"rabbit{node}@localhost"

    def _env(self, node, plugins="[]."):
        folder = self._home / str(node)
        folder.mkdir(exist_ok=True)
        if plugins:
            (folder / "plugins").write_text(plugins)
        (folder / "rabbitmq.conf").write_text(
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.manager_port}"
        )
        port = self.ports[node]
        return os.environ | {
            "HOME": str(self._home),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._name(node),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def _start(self, node):
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self._processes[node] = subprocess.Popen(
            [*guard, str(NEWEST_HOMES[-1] / "sbin" / "rabbitmq-server")],
            env=self._env(node),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _await(self, node):
        def listens():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[node]), 1):
                return True
            assert self._processes[node].poll() is None, "the node has ended"
            return False

        wait_until(listens, f"node {node} of RabbitMQ listens")

    def control(self, node, *command):
        """Run a command of rabbitmqctl; return its output."""
        return self._run("rabbitmqctl", node, *command)

    def enable(self, node, plugin):
        """Enable a plugin at a node; the management API is at `manager_port`, and has the login of the broker."""
        self._run("rabbitmq-plugins", node, "enable", plugin, plugins="")

    def _run(self, program, node, *command, **options):
        done = subprocess.run(
            [str(NEWEST_HOMES[-1] / "sbin" / program), "-q", "-n", self._name(node), *command],
            env=self._env(node, **options),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} {command} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def url(self, *nodes):
        """Return Celery's URL of the nodes: of all, unless some are named."""
        chosen = nodes or range(len(self.ports))
        return ";".join(f"amqp://guest:guest@127.0.0.1:{self.ports[node]}//" for node in chosen)

    def kill(self, node):
        """Kill a node as kill -9 does."""
        process = self._processes.pop(node)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def start(self, node):
        """Start a node that was killed; it joins by itself."""
        self._start(node)
        self._await(node)

    def __exit__(self, *_error):
        for node in list(self._processes):
            self.kill(node)
        subprocess.run(
            ["epmd", "-port", str(self._epmd), "-kill"], env=os.environ, capture_output=True, timeout=30, check=False
        )
        shutil.rmtree(self._home, ignore_errors=True)
