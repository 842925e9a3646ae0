"""One file a method: found by `quant.registry`, nothing else names it.

Add a file here; import heavy libraries inside the function."""
