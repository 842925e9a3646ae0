"""Everything that a plan names is checked here, before the first second of work.

A check returns problems with line, what is wrong, and the fix."""
