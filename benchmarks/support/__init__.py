"""What benchmarks share, and programs that they start: nobody runs a module of these by name."""
