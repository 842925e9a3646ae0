"""What is measured: speed, memory and accuracy of one checkpoint in one engine."""
