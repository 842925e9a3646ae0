"""`bitfrontier doctor`: what is missing or unsafe here, and what to do about it."""
