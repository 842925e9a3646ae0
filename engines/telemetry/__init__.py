"""What is read of the machine while a server runs: memory, power, clocks, bandwidth, lines of the server's log.

Nothing here changes the machine's settings."""
