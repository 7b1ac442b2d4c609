"""Near cache: rows kept in the process until they are invalidated."""
