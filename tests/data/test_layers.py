"""Only `images` may import torch: the others run where Snakemake and the command line start."""

import subprocess
import sys


def test_the_room_is_free_of_torch_but_for_images(root):
    modules = sorted(path.stem for path in (root / "kdx2i" / "data").glob("*.py") if path.stem != "images")
    names = ", ".join(f"kdx2i.data.{name}" for name in modules if name != "__init__")
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert len(modules) > 5
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
