"""The whole job on one machine, `python -m rowcache_tasks.demo`: real servers and processes, and a check of every row.

Starts Valkey, PostgreSQL, a dispatcher, a worker and Flower, caches all accounts of pgbench while pgbench changes them,
and compares the cache with the database at the end.
"""
