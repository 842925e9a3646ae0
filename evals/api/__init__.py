"""Request and response bodies of each server API, tokenizers, and one POST that waits and repeats.

A server with an API of its own is a form in `formats`."""
