"""The cases: modules whose `run(servers, options)` returns a Section."""
