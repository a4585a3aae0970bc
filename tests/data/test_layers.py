"""Only `images` and `label_maps` may import torch: the others run where Snakemake and the command line start."""

import subprocess
import sys

WITH_TORCH = ("images", "label_maps")


def test_the_room_is_free_of_torch_but_for_pixels(root):
    modules = sorted(path.stem for path in (root / "kdx2i" / "data").glob("*.py") if path.stem not in WITH_TORCH)
    names = ", ".join(f"kdx2i.data.{name}" for name in modules if name != "__init__")
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert len(modules) > 5
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
