"""`bitfrontier bundle`: all that a plan needs in one folder, for a machine without a network."""
