"""Turns a checkpoint into a running server.

`types` and `registry` are what engines build on; `servers/` holds one file an engine. Imports only `quant`."""
