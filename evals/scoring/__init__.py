"""Log-probabilities, generated texts and next-token distributions from a server, however it gives them.

A new way to give log-probabilities is a builder and a reader in `requests`."""
