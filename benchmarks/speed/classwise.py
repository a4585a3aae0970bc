"""Class-wise FID and KID over many small classes: this engine against a loop over the libraries' own functions.

    python benchmarks/speed/classwise.py --json classwise.json

Synthetic features, 149 classes of 10 real and 100 generated samples with 2048 dimensions, float32 as extractors
give them. Of the libraries' FID only `--library-classes` classes are really timed, the rest is extrapolated;
everything else is timed in full. One thread by default, where processor seconds tell what a quiet core takes.
"""

import argparse
import contextlib
import io
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common import in_turns, middle, report, use_threads

Pairs = Sequence[tuple[Any, Any]]
"""Generated and real features of each class, float32 arrays (n, d) and (m, d)."""
Seconds = Mapping[str, Mapping[str, Sequence[float]]]
"""Measured seconds by clock and by the name of what was timed."""


def command_line() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=149)
    parser.add_argument("--real", type=int, default=10)
    parser.add_argument("--generated", type=int, default=100)
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--library-classes", type=int, default=3, help="classes of the libraries' FID really timed")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="of the libraries; this engine uses one by itself")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, compare the values, print and write."""
    options = command_line()
    use_threads(options.threads)

    import numpy as np

    from kdx2i.metrics.distances.classwise import classwise_distances
    from kdx2i.metrics.distances.frechet import frechet_distance_per_class
    from kdx2i.metrics.distances.kernel import kernel_distance_per_class

    classes, dimensions = options.classes, options.dimensions
    generator = np.random.default_rng(0)
    scale = 2.0 * np.arange(1, dimensions + 1) ** -0.5

    def features(count: int, spread: float) -> np.ndarray:
        normal = generator.normal(size=(classes * count, dimensions))
        return np.abs(normal * scale * spread + 0.3).astype(np.float32)

    real, generated = features(options.real, 1.0), features(options.generated, 1.1)
    labels = np.repeat(np.arange(classes), options.real), np.repeat(np.arange(classes), options.generated)
    everything = generated, labels[1], real, labels[0], classes
    pairs = list(zip(np.split(generated, classes), np.split(real, classes), strict=True))

    engine = {
        "FID": lambda: frechet_distance_per_class(*everything),
        "KID": lambda: kernel_distance_per_class(*everything),
        "FID + KID": lambda: classwise_distances(*everything, errors=False),
        "FID + KID + errors": lambda: classwise_distances(*everything),
    }
    kernels = {
        "clean-fid": lambda: clean_fid_kernels(pairs),
        "torch-fidelity": lambda: torch_fidelity_kernels(pairs, min(options.real, options.generated)),
    }
    timed = min(options.library_classes, classes)
    frechets = {
        "clean-fid": lambda: clean_fid(pairs[:timed]),
        "torch-fidelity": lambda: torch_fidelity(pairs[:timed]),
    }
    for function in engine.values():
        function()  # once unmeasured: libraries load, memory is mapped
    in_full = {**engine, **{f"{name} KID": function for name, function in kernels.items()}}
    clocks = {"wall": time.perf_counter, "cpu": time.process_time}
    small = {name: in_turns(in_full, options.repeats, clock) for name, clock in clocks.items()}
    large = {name: in_turns(frechets, 1, clock) for name, clock in clocks.items()}

    exact = float(classwise_distances(*everything, errors=False).frechet[0])
    firsts = {"clean-fid": clean_fid(pairs[:1])[0], "torch-fidelity": torch_fidelity(pairs[:1])[0]}
    differences = {name: first / exact - 1.0 for name, first in firsts.items()}
    rows = engine_rows(list(engine), small, classes)
    rows += kernel_rows(list(kernels), small, classes)
    rows += frechet_rows(differences, small, large, timed, classes)
    title = f"{classes} classes, {options.real} real against {options.generated} generated, {dimensions} dimensions"
    report(title, rows, options.json)


def clean_fid(pairs: Pairs) -> list[float]:
    """Return clean-fid's FID of each class."""
    from cleanfid.fid import fid_from_feats

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return [float(fid_from_feats(*pair)) for pair in pairs]


def clean_fid_kernels(pairs: Pairs) -> list[float]:
    """Return clean-fid's KID of each class."""
    from cleanfid.fid import kernel_distance

    return [kernel_distance(*pair) for pair in pairs]


def torch_fidelity(pairs: Pairs) -> list[float]:
    """Return torch-fidelity's FID of each class."""
    import torch
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    distances = []
    for pair in pairs:
        statistics = [fid_features_to_statistics(torch.from_numpy(part)) for part in pair]
        distances.append(fid_statistics_to_metric(*statistics, False)[KEY_METRIC_FID])
    return distances


def torch_fidelity_kernels(pairs: Pairs, size: int) -> list[float]:
    """Return torch-fidelity's KID of each class, from subsets of `size`."""
    import torch
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    settings = {"kid_subset_size": size, "kid_subsets": 100, "verbose": False}
    return [kid_features_to_metric(*map(torch.from_numpy, pair), **settings)[KEY_METRIC_KID_MEAN] for pair in pairs]


def engine_rows(names: Sequence[str], small: Seconds, classes: int) -> list[dict[str, Any]]:
    """Return a row for each computation of this engine; `small` has the seconds by clock and name."""
    rows = []
    for name in names:
        row = {"what": f"this engine, {name}", "classes timed": classes}
        rows.append(row | {f"{clock} s": middle(seconds[name]) for clock, seconds in small.items()})
    return rows


def kernel_rows(names: Sequence[str], small: Seconds, classes: int) -> list[dict[str, Any]]:
    """Return a row for each library's KID, beside this engine's."""
    rows = []
    for name in names:
        row: dict[str, Any] = {"what": f"{name}, KID of 100 subsets", "classes timed": classes}
        for clock, by_name in small.items():
            seconds = middle(by_name[f"{name} KID"])
            row |= {f"{clock} s": seconds, f"{clock} / engine KID": seconds / middle(by_name["KID"])}
        rows.append(row)
    return rows


def frechet_rows(
    differences: Mapping[str, float], small: Seconds, large: Seconds, timed: int, classes: int
) -> list[dict[str, Any]]:
    """Return a row for each library's FID, extrapolated from the classes that were timed, beside this engine's.

    `differences` are the relative differences of the first class's value; `large` has the libraries' seconds.
    """
    rows = []
    for name, difference in differences.items():
        row: dict[str, Any] = {"what": f"{name}, FID, extrapolated", "classes timed": timed}
        for clock, by_name in small.items():
            seconds = large[clock][name][0] / timed * classes
            row |= {
                f"{clock} s": seconds,
                f"{clock} / engine FID": seconds / middle(by_name["FID"]),
                f"{clock} / FID + KID": seconds / middle(by_name["FID + KID"]),
            }
        rows.append(row | {"relative difference": difference})
    return rows


if __name__ == "__main__":
    main()
