"""The command line: arguments, exit codes, texts.

Heavy imports stand inside the commands, so that `--help` is fast."""
