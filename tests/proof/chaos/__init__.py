"""Fault injection into a real deployment under load: `python -m proof.chaos`, see docs/chaos.md."""
