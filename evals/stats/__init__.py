"""Intervals, paired tests, group-sequential tests, stratification. Each states its source.

A new estimator comes with a simulation of its coverage under `benchmarks/`."""
