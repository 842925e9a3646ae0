"""What a terminal shows of a run: a table of all cells, then the answer in at most eight lines; all of it with -v. And
of two runs that are held against each other.
"""
