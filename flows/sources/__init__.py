"""Models, data, calibration and checkpoints: found, fetched, hashed.

Everything that is fetched lands in the cache folder."""
