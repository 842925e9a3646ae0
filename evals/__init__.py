"""What is measured: speed, memory and accuracy of one checkpoint in one engine."""

import os

# lm-eval's and datasets' bars would break into our own display; tqdm reads this once, when it is first imported
os.environ.setdefault("TQDM_DISABLE", "1")
