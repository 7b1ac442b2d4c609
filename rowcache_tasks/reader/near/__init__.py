"""Near cache: rows kept in the process until the server invalidates them."""
