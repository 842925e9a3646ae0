"""The records that a trial file holds, frozen, and reading one.

A change here raises the schema's version and is migrated; see `trial_file`."""
