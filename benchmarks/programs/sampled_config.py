"""The configuration of a deployment whose processes write down what they do; see benchmarks/sampler.py."""

import os
from pathlib import Path

from benchmarks import sampler
from celeryconfig import *  # noqa: F403 the same settings

sampler.start(Path(os.environ["BENCH_SAMPLES"]))
