"""A sweep over several machines: leases, heartbeats, the store of checkpoints and trials, what a worker does.

Names in the store are keys of contents."""
