"""One Frechet distance at full rank: this engine against torch-fidelity's function, on the same features.

    python benchmarks/speed/full_rank.py --json full_rank.json

Both sides use the same number of threads (2 by default) and start from float32 features. On a busy machine take
`--threads 1` and the processor seconds.
"""

import argparse
import time
from pathlib import Path

from common import in_turns, middle, report, use_threads


def main() -> None:
    """Measure both, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3000, help="in each set")
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    use_threads(options.threads)

    import numpy as np
    import torch
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    from kdx2i.metrics.distances.frechet import frechet_distance

    torch.set_num_threads(options.threads)
    generator = np.random.default_rng(0)
    scale = 2.0 * np.arange(1, options.dimensions + 1) ** -0.5
    pair = []
    for spread in (1.0, 1.1):
        normal = generator.normal(size=(options.images, options.dimensions))
        pair.append(torch.from_numpy(np.abs(normal * scale * spread + 0.3).astype(np.float32)))
    values = {}

    def of_the_engine() -> None:
        values["this engine"] = frechet_distance(*pair)

    def of_the_library() -> None:
        statistics = [fid_features_to_statistics(part) for part in pair]
        values["torch-fidelity"] = fid_statistics_to_metric(*statistics, False)[KEY_METRIC_FID]

    clocks = {"wall": time.perf_counter, "cpu": time.process_time}
    both = {"this engine": of_the_engine, "torch-fidelity": of_the_library}
    seconds = {name: in_turns(both, options.repeats, clock) for name, clock in clocks.items()}
    rows = []
    for name in both:
        row = {"what": name, "value": values[name], "difference": values[name] - values["torch-fidelity"]}
        for clock, measured in seconds.items():
            share = middle(measured[name]) / middle(measured["torch-fidelity"])
            row |= {f"{clock} s": middle(measured[name]), f"{clock} share": share}
        rows.append(row)
    report(f"{options.images} against {options.images} images, {options.dimensions} dimensions", rows, options.json)


if __name__ == "__main__":
    main()
