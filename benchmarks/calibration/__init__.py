"""Do intervals hold what they promise, and verdicts err as rarely: simulated, side by side with what was there before.

`python -m benchmarks.calibration [--quick]`; seeds are fixed. `limits.py` says what figures are held to,
`before.py` keeps the old estimators to be compared with."""
