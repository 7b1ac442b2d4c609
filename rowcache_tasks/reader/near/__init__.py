"""Near cache: rows kept in this process until the server invalidates them."""
