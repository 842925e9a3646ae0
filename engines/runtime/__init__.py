"""Environments, child processes that leave no orphan, and starting a server in one.

Modules that are started by name stand in `entry_points`."""
