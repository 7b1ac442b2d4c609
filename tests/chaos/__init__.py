"""A real deployment under load, broken on purpose and watched: `python -m chaos`, see docs/chaos.md."""
