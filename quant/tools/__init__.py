"""What the methods of one environment share: `quant/tools/NAME.py` for the environment NAME.

Imported by method files at call time only; its digest is part of the key of every checkpoint made there.
"""
