"""The page of all runs of a folder, index.html beside them, and the small summary of each run that it is made of."""
