"""Prefect flows and tasks around `flows.execute`, its server, artifacts, logs.

Tasks are thin; logic that a test wants belongs into `execute`."""
