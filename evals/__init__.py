"""Measures: load, memory, lm-eval through the engine, perplexity, divergence, gates; and the statistics of comparisons.

Talks to servers over HTTP by their `Dialect`, never by an engine's name."""

import os

# lm-eval's and datasets' bars would break into our own display; tqdm reads this once, when it is first imported
os.environ.setdefault("TQDM_DISABLE", "1")
