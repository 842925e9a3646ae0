"""`bitfrontier model`: what a model is, and what each method and engine makes of it here.

`fit` decides that by the plan's own validation, `command` prints it."""
