"""The main job on one machine, `python -m rowcache_tasks.demo`: real servers, real processes, and a check of every row.

Starts Valkey and PostgreSQL, a dispatcher, a worker and Flower, caches all of pgbench's accounts while pgbench
changes them, and compares the cache with the database in the end. Nothing else in the package imports this one.
"""
