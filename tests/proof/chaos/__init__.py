"""A real deployment under load, broken on purpose and watched: `python -m proof.chaos`, see docs/chaos.md."""
