"""A sweep over several machines: the store of checkpoints and trials, what a worker does and what it refuses.

Names in the store are keys of contents."""
