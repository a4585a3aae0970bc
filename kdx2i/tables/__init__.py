"""Tables and verdicts: the published numbers, the reproduced ones beside them, and how they compare.

Everything here is pure: evaluations come in, tables and comparisons go out. No torch.
"""
