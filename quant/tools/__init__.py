"""What several methods of one library share; runs in that library's environment.

A file named after an environment belongs to it alone; others are shared by all."""
