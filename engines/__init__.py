"""What turns a checkpoint into a running server."""
