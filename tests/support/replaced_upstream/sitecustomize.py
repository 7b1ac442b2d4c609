"""Replaces the functions named in REPLACED ("module:Class.function …") by others that do the same.

Python imports this module at its start when the folder is on PYTHONPATH: a process that runs on another version of
Celery and kombu, as far as its guards can see.
"""

import os
import pkgutil


def replace(function):
    original = pkgutil.resolve_name(function)
    path, _, name = function.rpartition(".")

    def other(*args, **kwargs):
        return original(*args, **kwargs)

    setattr(pkgutil.resolve_name(path), name, other)


for function in os.environ.get("REPLACED", "").split():
    replace(function)
