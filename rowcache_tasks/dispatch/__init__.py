"""The dispatcher loop: claim due rows, send them, sleep."""
