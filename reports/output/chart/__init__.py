"""The page's frontier chart: which axes it offers, which it shows first, and what is known of each cell on them.

Drawing is the script's, `templates/chart.js`. Touch this for a new axis.
"""
