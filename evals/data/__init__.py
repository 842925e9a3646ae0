"""Evaluation data: a local root by `datasets`' own rules, texts for perplexity, the sample data set of a package.

Nothing here asks a server or knows of a task's score.
"""
