"""Every interleaving of small programs over the real scripts on a real server, checked at each step."""
