"""Verdicts, ranking, recommendation, frontiers with probabilities.

A rule that changes here changes in `output/templates/conclude.js` too; a test in Chromium holds both together."""
