"""Data that bitfrontier needs or ships: sample plans, pins of environments, workloads, SLO presets, deployments.

A package, so that an installed bitfrontier has them; nothing in it is code.
"""
