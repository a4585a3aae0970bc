"""Makes the builders of `tests/support`, which several rooms share, importable by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))
