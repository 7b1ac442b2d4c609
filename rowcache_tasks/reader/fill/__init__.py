"""Fills: one reader loads a row that is not cached, all others wait for it."""
