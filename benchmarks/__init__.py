"""What `make bench` measures: this package beside the alternatives, on servers that it starts itself.

Each module of `cases` measures one thing and gives a Section; `programs` are what runs as a process of its own, some
in environments of their own. Nothing here is installed.
"""
