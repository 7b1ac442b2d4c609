"""Demo of the whole job on one machine: `python -m demo`.

Starts Valkey, PostgreSQL, a dispatcher, a worker and Flower, caches all accounts of pgbench while pgbench changes them,
and compares the cache with the database at the end.
"""
