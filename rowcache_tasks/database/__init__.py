"""Reading rows from the database. The only SQL."""
