"""Tasks: lm-eval's definitions and a user's own, and the questions that a plan asks of them.

Nothing here asks a server.
"""
