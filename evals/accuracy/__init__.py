"""lm-eval's tasks, perplexities, KL divergence from the baseline, gates, contamination, adaptive budgets.

Rules of lm-eval are called, not rewritten."""
