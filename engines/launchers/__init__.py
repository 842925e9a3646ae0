"""Programs that are started as servers, in an engine's environment.

Each has a `main` and is named in `engines.runtime.entry_points`."""

from quant.no_remote_code import forbid_telemetry

forbid_telemetry()  # before any launcher imports its engine
