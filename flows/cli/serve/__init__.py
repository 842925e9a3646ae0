"""`bitfrontier serve`: the server of a run's cell, started as the sweep started it, until Ctrl-C."""
