"""One file, one method. A file here that uses `quant.registry.method` is found by itself."""
