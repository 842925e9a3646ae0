"""Speeds of cells that were measured in rounds: one model for all of them, and who may be the best.

It reads cells' figures and gives them back; verdicts on quality are made in `reports.decision`."""
