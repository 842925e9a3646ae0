"""Pareto frontiers of cells by two figures, and the probability of being on one.

It reads cells and an aim; who is recommended is decided beside it, not here."""
