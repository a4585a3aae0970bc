"""The registered ways to score one set of images: what the paper leaves open about its metrics. Torch-free.

A protocol is one alternative of each dimension that some metric depends on. Each dimension is an entry of the
register `benchmarks/protocol.yaml` (`REGISTER`), whose alternatives say what they mean; of the generated images,
whose number the paper does not say, a protocol takes all or half of each class. On which dimensions a metric depends
stands in its entry of the catalogue. `FEATURES` says which alternatives were published together: a network is not
crossed with the input, the matrix root or the Inception Score of a code base that never used it.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from kdx2i.metric_catalogue import METRICS

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "extractor": ("inception-v3-compat", "inception-v3-torchvision", "efficientnet-lite0", "open-drawings"),
    "preprocessing": ("clean", "tf1", "pytorch-fid", "pytorch-fid-2018", "stargan-v2", "deepi2i"),
    "real": ("all", "train", "test"),
    "generated": ("all", "half"),
    "kid": ("full-set", "torch-fidelity", "clean-fid"),
    "fid": ("exact", "newton-schulz"),
    "is": ("torch-fidelity", "stylegan2-ada", "ssa-gan", "deepi2i"),
}
REGISTER = {
    "extractor": "extractor",
    "preprocessing": "resize-filter",
    "real": "real-set",
    "generated": "generated-per-class",
    "kid": "kid-estimator",
    "fid": "frechet-root",
    "is": "is-convention",
}
_GRAPH: dict[str, tuple[str, ...]] = {"fid": ("exact",), "is": ("torch-fidelity", "stylegan2-ada", "ssa-gan")}
_TORCHVISION: dict[str, tuple[str, ...]] = {"fid": ("exact",), "is": ("deepi2i",)}
FEATURES: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("inception-v3-compat", "clean"): _GRAPH,
    ("inception-v3-compat", "tf1"): _GRAPH,
    ("inception-v3-compat", "pytorch-fid"): _GRAPH,
    ("inception-v3-torchvision", "stargan-v2"): _TORCHVISION,
    ("inception-v3-torchvision", "deepi2i"): {**_TORCHVISION, "fid": ("exact", "newton-schulz")},
    ("inception-v3-torchvision", "pytorch-fid"): _TORCHVISION,
    ("inception-v3-torchvision", "pytorch-fid-2018"): _TORCHVISION,
    ("efficientnet-lite0", "clean"): _GRAPH,
    ("efficientnet-lite0", "tf1"): _GRAPH,
    ("open-drawings", "clean"): _GRAPH,
    ("open-drawings", "tf1"): _GRAPH,
}
"""Each network and preprocessing that belong together, with their alternatives of the dimensions `fid` and `is`."""

DEPENDS: dict[str, tuple[str, ...]] = {metric.name: metric.depends for metric in METRICS.values() if metric.depends}

Protocol = Mapping[str, str]
# One value and the alternatives that it depends on: {"metric", <dimension>..., "value", ...}.
Measurement = Mapping[str, Any]


def alternatives(extractor: str, preprocessing: str) -> dict[str, tuple[str, ...]]:
    """Return the alternatives of each dimension under one network and preprocessing, registered or not."""
    own = FEATURES.get((extractor, preprocessing), _GRAPH)
    return {**DIMENSIONS, **own, "extractor": (extractor,), "preprocessing": (preprocessing,)}


def protocols(metrics: Iterable[str]) -> list[dict[str, str]]:
    """Return every protocol that differs for one of the metrics, by the order of `FEATURES` and `DIMENSIONS`."""
    relevant = {dimension for metric in metrics for dimension in DEPENDS.get(metric, ())}
    names = [dimension for dimension in DIMENSIONS if dimension in relevant]
    found: list[dict[str, str]] = []
    for features in FEATURES if names else ():
        own = alternatives(*features)
        found += [dict(zip(names, values, strict=True)) for values in itertools.product(*(own[name] for name in names))]
    return found


def protocol_name(protocol: Protocol) -> str:
    """Return a protocol's name, e.g. `inception-v3-compat/clean/real-all/generated-half/kid-full-set`.

    The exact root of the Frechet distance goes without saying.
    """
    bare = ("extractor", "preprocessing")
    said = {name: value for name, value in protocol.items() if (name, value) != ("fid", "exact")}
    return "/".join(value if name in bare else f"{name}-{value}" for name, value in said.items())


def by_choices(measurements: Iterable[Measurement]) -> dict[tuple[Any, ...], Measurement]:
    """Return measurements by metric and what it depends on, for `under`."""
    return {_choices(str(measurement["metric"]), measurement): measurement for measurement in measurements}


def under(protocol: Protocol, measured: Mapping[tuple[Any, ...], Measurement]) -> dict[str, Measurement]:
    """Return the measurement of each metric under a protocol; a metric that was not measured is absent."""
    found = {metric: measured.get(_choices(metric, protocol)) for metric in DEPENDS}
    return {metric: measurement for metric, measurement in found.items() if measurement is not None}


def _choices(metric: str, choices: Mapping[str, Any]) -> tuple[Any, ...]:
    return metric, *(choices.get(name) for name in DEPENDS[metric])
