"""The readers: programs that read the same rows, each in its own way, when they are told to, and say how long it took.

order.py is what they are told, service.py what they do with it; each other module is a program. Those of contenders run
in an environment that has nothing of this package.
"""
