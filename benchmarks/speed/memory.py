"""Peak memory of one pass, FID and KID at some numbers of images: it should not grow with them.

    python benchmarks/speed/memory.py --images 1000 10000 --json memory.json

Each number runs in a process of its own: images are 64 px files in a folder, the network is the packaged small one at
32 px, and the set is compared with itself.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from common import report, use_threads


def main() -> None:
    """Measure each number of images in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--json", type=Path, default=None)
    # Both steps run in a process of their own: the peak of a process counts what its parent held at the start.
    parser.add_argument("--make", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_threads(1)
    if arguments.make is not None:
        from random_inception import save_random_images

        save_random_images(arguments.make, arguments.images[0], seed=0)
        return
    if arguments.measure is not None:
        measure(arguments.measure)
        return
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for count in arguments.images:
            for step in ("--make", "--measure"):
                command = [sys.executable, __file__, step, f"{name}/{count}", "--images", str(count)]
                printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            rows.append(json.loads(printed))
    report("Peak resident memory of features, FID and KID", rows, arguments.json)


def measure(folder: Path) -> None:
    """Embed the folder, compute both distances and print the peak after each step."""
    import torch

    from kdx2i.metrics.distances.frechet import frechet_distance
    from kdx2i.metrics.distances.kernel import kernel_distance
    from kdx2i.metrics.extractors.extractor import build_extractor
    from kdx2i.metrics.images.embedding import embed
    from kdx2i.metrics.images.streams import open_images

    torch.set_num_threads(1)
    images = open_images(folder)
    extractor = build_extractor("efficientnet-lite0", input_size=32)
    extractor(torch.zeros(16, 3, 64, 64, dtype=torch.uint8))
    row = {"images": len(images), "start MiB": peak()}
    (embedding,) = embed(images, [extractor], logits=True, folder=folder.with_suffix(".store"))
    row["features MiB"] = peak()
    frechet_distance(embedding.features, embedding.features)
    row["FID MiB"] = peak()
    kernel_distance(embedding.features, embedding.features)
    row["KID MiB"] = peak()
    print(json.dumps(row))


def peak() -> float:
    """Return the peak resident memory of this process in MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
