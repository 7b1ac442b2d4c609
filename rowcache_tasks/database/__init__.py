"""Rows read from the database; all the SQL of the package."""
