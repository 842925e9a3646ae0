"""One file an engine: found by `engines.registry`, nothing else names it.

A file says how to start a server, what it can do (`Dialect`) and which pairs it refuses; it starts nothing."""
