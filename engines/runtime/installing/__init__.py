"""What an environment is installed from and by: package sources, Pythons, compiled modules."""
