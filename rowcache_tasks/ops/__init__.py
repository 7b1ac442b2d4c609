"""Commands, health checks and metrics for operators."""
