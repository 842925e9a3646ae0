"""The rounds of a race: who is visited in which order, who has left and why, when it has ended.

What is decided here is decided from finished visits alone, so that a race that was killed goes on as it would have."""
