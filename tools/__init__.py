"""Parts of the documentation that are made when the site is built."""
