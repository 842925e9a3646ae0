"""One file, one engine. A file here that uses `engines.registry.engine` is found by itself."""
