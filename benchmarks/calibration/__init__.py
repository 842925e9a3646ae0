"""Do intervals hold what they promise, and verdicts err as rarely: simulated, side by side with what was there before.

`python -m benchmarks.calibration [--quick]`; seeds are fixed. `before.py` keeps the old estimators for that alone."""
