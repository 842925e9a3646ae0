"""A plan as data: keys, types, ranges; reading YAML with line numbers.

A new key goes into `schema`, `load` or `limits`."""
