"""`bitfrontier init MODEL`: a first plan for a model on this machine, with comments.

`choice` decides by the plan's own validation what can be measured here, `text` writes it as YAML."""
