"""Concludes, from trial files alone: nothing here measures or asks a server.

Figures are made in `metrics/`, judged in `decision/`, shown in `output/`."""
