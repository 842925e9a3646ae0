"""What each figure is: label, formula, unit, which way is better, source.

`metrics.toml` is the one place of these texts; page, tables and reference are made of it. Touch it for a new figure.
"""
