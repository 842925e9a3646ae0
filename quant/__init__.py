"""Turns a model into a checkpoint folder; each method runs in a child process in an environment of its own.

`types` and `registry` are what methods build on, `worker` runs one. Imports nothing of the other packages."""
