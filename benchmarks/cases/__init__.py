"""One module for each thing that is measured: `run(stage, options)` gives a Section."""
