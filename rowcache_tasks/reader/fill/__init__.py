"""Filling of rows that are not cached: one reader loads, the others wait."""
