"""Hosts as network namespaces on one bridge, which can be cut off: root on Linux only."""

import os
import shutil
import subprocess
from contextlib import suppress

ADDRESSES = "10.213.7"
PREFIX = f"rc{os.getpid() % 10_000}"
BRIDGE = f"{PREFIX}b"


def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def are_possible():
    """Return whether this process may make namespaces and a bridge."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "bridge"))):
        return False
    try:
        run("ip", "netns", "add", f"{PREFIX}probe")
        run("ip", "link", "add", BRIDGE, "type", "bridge")
    except subprocess.CalledProcessError:
        return False
    finally:
        for argv in (("ip", "netns", "del", f"{PREFIX}probe"), ("ip", "link", "del", BRIDGE)):
            with suppress(subprocess.CalledProcessError):
                run(*argv)
    return True


class Hosts:
    """Namespaces by name, each with an address; this process is the host `.1`."""

    def __init__(self, *names):
        self.names = names
        self.own_address = f"{ADDRESSES}.1"

    def __enter__(self):
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{self.own_address}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        for number, name in enumerate(self.names):
            space, port = self._space(name), self._port(name)
            run("ip", "netns", "add", space)
            run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
            run("ip", "link", "set", port, "master", BRIDGE, "up")
            inside = ("ip", "-n", space)
            run(*inside, "address", "add", f"{ADDRESSES}.{number + 2}/24", "dev", "eth0")
            run(*inside, "link", "set", "eth0", "up")
            run(*inside, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        ends = [("ip", "netns", "del", self._space(name)) for name in self.names]
        ends += [("ip", "link", "del", port) for port in (*map(self._port, self.names), BRIDGE)]
        for argv in ends:
            with suppress(subprocess.CalledProcessError):
                run(*argv)

    def address(self, name):
        return f"{ADDRESSES}.{self.names.index(name) + 2}"

    def inside(self, name, argv):
        """Return the command line that runs a program on a host."""
        return ["ip", "netns", "exec", self._space(name), *argv]

    def cut(self, name):
        """Let every packet from and to a host be lost, without a sign of it."""
        run("bridge", "link", "set", "dev", self._port(name), "state", "0")

    def heal(self, name):
        run("bridge", "link", "set", "dev", self._port(name), "state", "3")

    def _space(self, name):
        return f"{PREFIX}{name}"

    def _port(self, name):
        return f"{PREFIX}{name}"[:15]
