"""The application of `celery -A rowcache_tasks`."""

import os
import sys

from support.fork_server import run_forked
from support.project import ROOT

FORGET = """
import sys
from rowcache_tasks.celery import app
print("celeryconfig" in sys.modules)
app.conf.timezone
print("celeryconfig" in sys.modules)
del sys.modules["celeryconfig"]
app.conf.timezone
print("celeryconfig" in sys.modules)
"""


def test_configuration_module_is_read_at_the_first_use_and_never_again():
    done = run_forked([sys.executable, "-c", FORGET], env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.stdout == "False\nTrue\nFalse\n", done.stderr
