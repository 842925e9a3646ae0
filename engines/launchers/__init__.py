"""Programs that are started as servers, in an engine's environment.

Each has a `main` and is named in `engines.runtime.entry_points`."""
