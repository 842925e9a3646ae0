"""Hostile and damaged inputs of the command line, drawn by seed: one module a family of them.

A kind is a function `(draw, folder) -> Case` that writes the input into a folder of its own. `benchmarks.fuzz` runs it.
"""
