"""Items of the shop."""
