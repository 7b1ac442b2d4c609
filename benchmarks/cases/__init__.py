"""The cases: one module each, whose `run(servers, options)` returns a Section."""
