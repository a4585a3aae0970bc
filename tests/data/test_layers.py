"""Only `images` and `conditions.reading` may import torch: the others run where the command line starts."""

import subprocess
import sys

WITH_TORCH = ("images", "conditions.reading")


def test_the_room_is_free_of_torch_but_for_pixels(root):
    folder = root / "kdx2i" / "data"
    paths = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py") if path.stem != "__init__"]
    modules = sorted({".".join(path.parts) for path in paths} - set(WITH_TORCH))
    names = ", ".join(f"kdx2i.data.{name}" for name in modules)
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert len(modules) > 5
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
