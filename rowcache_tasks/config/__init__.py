"""Settings, read and validated once."""
