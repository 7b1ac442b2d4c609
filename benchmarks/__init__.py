"""Benchmarks of this package beside five alternatives.

Run by `make bench`; not installed. `cases/` has one module for each thing that is measured, `programs/` the processes
of the contenders.
"""
