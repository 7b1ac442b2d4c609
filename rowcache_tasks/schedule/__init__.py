"""The protocol: everything that is atomic in Redis."""
