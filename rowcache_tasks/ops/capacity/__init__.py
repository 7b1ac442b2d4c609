"""Own the capacity model: from rows, intervals and sizes to processes, processor time, memory and connections.

Pure functions of numbers: no I/O but that the measured constants are package data. docs/capacity.md explains the model.
"""

from rowcache_tasks.ops.capacity.advice import advise
from rowcache_tasks.ops.capacity.constants import Constants, Cost, load_constants, parse_constants
from rowcache_tasks.ops.capacity.fill import Fill, fill_batches
from rowcache_tasks.ops.capacity.fleet import Fleet
from rowcache_tasks.ops.capacity.plan import Part, Plan, make_plan
from rowcache_tasks.ops.capacity.workload import Group, Workload, parse_group

__all__ = [
    "Constants",
    "Cost",
    "Fill",
    "Fleet",
    "Group",
    "Part",
    "Plan",
    "Workload",
    "advise",
    "fill_batches",
    "load_constants",
    "make_plan",
    "parse_constants",
    "parse_group",
]
