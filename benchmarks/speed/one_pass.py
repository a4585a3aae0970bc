"""Speed of all metrics of one run: one pass of this engine against torch-fidelity's isc + fid + kid call.

    python benchmarks/speed/one_pass.py --images 1000 --json one_pass.json

Both read the same two folders of 64 px PNG files with the same Inception network (random weights, calibrated
batch norms) and TensorFlow 1 resize; no cache holds anything at the start of a call. Compared with them is one plain
forward pass of that network over the generated images only. Each is called in turns. Processor seconds, of all
threads and child processes, are given beside wall seconds: other jobs of the machine disturb them less.
"""

import argparse
import hashlib
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from common import middle, report, use_threads

COMPARED = {
    "engine, reference known": "plain forward, generated",
    "engine, nothing known": "torch-fidelity isc+fid+kid",
}
"""Which call's seconds are divided by which other's."""


def command_line() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="images in each of the two folders")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args()


def main() -> None:
    """Measure, compare the values, print and write."""
    arguments = command_line()
    use_threads(arguments.threads)
    warnings.simplefilter("ignore")

    import torch
    from random_inception import save_random_images, save_random_inception

    from kdx2i.metrics.extractors.extractor import build_extractor
    from kdx2i.metrics.extractors.networks import InceptionV3Compat
    from kdx2i.metrics.images.embedding import embed
    from kdx2i.metrics.images.streams import open_images

    torch.set_num_threads(arguments.threads)
    count = arguments.images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = folder / "weights.pth"
        plain = save_random_inception(weights)
        InceptionV3Compat.sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        for number, kind in enumerate(("generated", "reference")):
            save_random_images(folder / kind, count, seed=number)
        extractor = build_extractor("inception-v3-compat", weights_path=weights, preprocessing="tf1")
        decoded = torch.stack([image for _, block in open_images(folder / "generated").blocks(64) for image in block])
        values: dict[str, dict[str, float]] = {}

        def plain_pass() -> None:
            with torch.no_grad():
                for part in decoded.split(64):
                    plain(part)

        def engine(store: Path | None) -> None:
            values["engine"] = engine_values(extractor, folder, store)

        def library() -> None:
            values["torch-fidelity"] = library_values(weights, folder, count)

        embed(open_images(folder / "reference"), [extractor], folder=folder / "store")
        calls: dict[str, Callable[[], None]] = {
            "plain forward, generated": plain_pass,
            "engine, reference known": lambda: engine(folder / "store"),
            "engine, nothing known": lambda: engine(None),
            "torch-fidelity isc+fid+kid": library,
        }
        wall, processor = in_turns_twice(calls, arguments.repeats)

    rows = time_rows(wall, processor, count) + value_rows(values)
    report(f"All metrics of {count} generated against {count} reference images", rows, arguments.json)


def engine_values(extractor: Any, folder: Path, store: Path | None) -> dict[str, float]:
    """Return every metric of `folder`/generated against `folder`/reference, whose features `store` may hold."""
    from kdx2i.metrics.distances.classwise import classwise_distances
    from kdx2i.metrics.distances.frechet import frechet_distance
    from kdx2i.metrics.distances.kernel import kernel_estimate
    from kdx2i.metrics.images.embedding import embed
    from kdx2i.metrics.images.streams import open_images
    from kdx2i.metrics.inception.score import CONVENTIONS, inception_score

    first, second = open_images(folder / "generated"), open_images(folder / "reference")
    (x,) = embed(first, [extractor], logits=True)
    (y,) = embed(second, [extractor], folder=store)
    assert x.logits is not None
    classes = classwise_distances(x.features, first.labels, y.features, second.labels, len(first.classes))
    mfid, mkid = classes.mean_frechet(), classes.mean_kernel()
    rule = CONVENTIONS["torch-fidelity"]
    score = inception_score(x.logits, splits=rule.splits, shuffle_seed=rule.shuffle_seed)
    return {
        "FID": frechet_distance(x.features, y.features),
        "KID": kernel_estimate(x.features, y.features).value,
        "IS": score.mean,
        "mFID": mfid.value if mfid is not None else float("nan"),
        "mKID": mkid.value if mkid is not None else float("nan"),
    }


def library_values(weights: Path, folder: Path, count: int) -> dict[str, float]:
    """Return what torch-fidelity computes of the two folders of `count` images."""
    import torch_fidelity

    measured = torch_fidelity.calculate_metrics(
        input1=str(folder / "generated"), input2=str(folder / "reference"), isc=True, fid=True, kid=True,
        samples_find_deep=True, feature_extractor_weights_path=str(weights), cuda=False, cache=False,
        kid_subset_size=min(1000, count), verbose=False,
    )  # fmt: skip
    return {
        "FID": measured["frechet_inception_distance"],
        "KID": measured["kernel_inception_distance_mean"],
        "IS": measured["inception_score_mean"],
    }


def time_rows(
    wall: Mapping[str, Sequence[float]], processor: Mapping[str, Sequence[float]], count: int
) -> list[dict[str, Any]]:
    """Return the seconds of each call, and for some their ratio to another call's."""
    rows: list[dict[str, Any]] = []
    for name in wall:
        row: dict[str, Any] = {"what": name, "images": count if "plain" in name else 2 * count}
        row |= {"wall s": middle(wall[name]), "processor s": middle(processor[name])}
        if name in COMPARED:
            base = COMPARED[name]
            row |= {
                "ratio to": base,
                "wall ratio": middle([a / b for a, b in zip(wall[name], wall[base], strict=True)]),
                "processor ratio": middle([a / b for a, b in zip(processor[name], processor[base], strict=True)]),
            }
        rows.append(row)
    return rows


def value_rows(values: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return each metric's value beside the library's, where that has it."""
    rows: list[dict[str, Any]] = []
    for metric, value in values["engine"].items():
        expected = values["torch-fidelity"].get(metric)
        difference = None if expected is None else abs(value - expected) / max(abs(expected), 1e-12)
        rows.append({"what": metric, "engine": value, "torch-fidelity": expected, "relative difference": difference})
    return rows


def in_turns_twice(
    calls: dict[str, Callable[[], None]], repeats: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return wall and processor seconds of each call, made in turns."""
    wall: dict[str, list[float]] = {name: [] for name in calls}
    processor: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start, used = time.perf_counter(), processor_seconds()
            call()
            wall[name].append(time.perf_counter() - start)
            processor[name].append(processor_seconds() - used)
    return wall, processor


def processor_seconds() -> float:
    """Return what this process and its finished children have used."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
