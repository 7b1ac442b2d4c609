"""Programs of the contenders, each a process of its own."""
