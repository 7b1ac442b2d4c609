"""Fills: one reader loads an uncached row, all others wait for it."""
