"""The command `kdx2i`: one sub-command for each stage, and those that check and explain results.

Torch is imported by the stage that runs, never here. A user's mistake is one sentence on stderr and
exit status 2; 1 means that a check found something.
"""

from kdx2i.cli import data, evaluate, inspection, results, score
from kdx2i.cli.app import app, guarded, main

__all__ = ["app", "data", "evaluate", "guarded", "inspection", "main", "results", "score"]
