"""Benchmarks of this package beside a bare loop, the book's daemon and two task queues.

Run by `make bench`; not installed. `cases/` has one module for each thing that is measured, `programs/` the processes
of the contenders.
"""
