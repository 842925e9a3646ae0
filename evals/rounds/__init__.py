"""Speeds over visits and rounds: one model of their noise, who may be the best, when a race is over.

Pure functions of logarithms; nothing here reads a file or starts a server. `benchmarks/race.py` simulates them."""
