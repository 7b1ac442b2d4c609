"""Random histories of the whole system, checked against a model of each row."""
