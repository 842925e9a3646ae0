"""What turns a model into a checkpoint folder."""
