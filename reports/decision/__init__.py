"""Verdicts, ranking, recommendation, frontiers with probabilities.

Limits, thresholds, orders and sentences are in `rules.toml`, which the page's script reads too; what is computed here
is computed in `output/templates/{judge,conclude}.js` too. A test in Chromium holds both together."""
