"""Programs that a case starts: the contenders, and clients that ask."""
