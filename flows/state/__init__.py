"""What lies on disk beside trials: locks, status of a run, what the cache may free, progress bars.

Folders are freed only where it is proven that they are ours."""
