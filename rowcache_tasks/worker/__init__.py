"""What a worker does with rows: refresh, seed, reconcile, drop."""
