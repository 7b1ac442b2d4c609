"""Use cases of a worker: refresh, seed, reconcile, drop."""
