"""Every interleaving of small programs over the scripts on a real server."""
