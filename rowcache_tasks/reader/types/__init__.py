"""Types of rows: their decoders."""
