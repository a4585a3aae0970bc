"""The registered ways to score one set of images: what the paper leaves open about its metrics. Torch-free.

A protocol is one alternative of each dimension that some metric depends on. Each dimension is an entry of the
register `benchmarks/protocol.yaml` (`REGISTER`), whose alternatives say what they mean; of the generated images,
whose number the paper does not say, a protocol takes all or half of each class. On which dimensions a metric depends
stands in its entry of the catalogue.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdx2i.metric_catalogue import METRICS

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "extractor": ("inception-v3-compat", "efficientnet-lite0", "open-drawings"),
    "preprocessing": ("clean", "tf1"),
    "real": ("all", "train", "test"),
    "generated": ("all", "half"),
    "kid": ("full-set", "torch-fidelity", "clean-fid"),
    "is": ("torch-fidelity", "stylegan2-ada", "ssa-gan"),
}
REGISTER = {
    "extractor": "extractor",
    "preprocessing": "resize-filter",
    "real": "real-set",
    "generated": "generated-per-class",
    "kid": "kid-estimator",
    "is": "is-convention",
}
DEPENDS: dict[str, tuple[str, ...]] = {metric.name: metric.depends for metric in METRICS.values() if metric.depends}

Protocol = Mapping[str, str]
# One value and the alternatives that it depends on: {"metric", <dimension>..., "value", ...}.
Measurement = Mapping[str, Any]


def protocols(metrics: Iterable[str]) -> list[dict[str, str]]:
    """Return every protocol that differs for one of the metrics, in the order of `DIMENSIONS`."""
    relevant = {dimension for metric in metrics for dimension in DEPENDS.get(metric, ())}
    names = [dimension for dimension in DIMENSIONS if dimension in relevant]
    products = itertools.product(*(DIMENSIONS[name] for name in names))
    return [dict(zip(names, values, strict=True)) for values in products] if names else []


def protocol_name(protocol: Protocol) -> str:
    """Return a protocol's name, e.g. `inception-v3-compat/clean/real-all/generated-half/kid-full-set`."""
    bare = ("extractor", "preprocessing")
    return "/".join(value if name in bare else f"{name}-{value}" for name, value in protocol.items())


def under(protocol: Protocol, measurements: Sequence[Measurement]) -> dict[str, Measurement]:
    """Return the measurement of each metric under a protocol; a metric that was not measured is absent."""
    return {
        str(measurement["metric"]): measurement
        for measurement in measurements
        if all(measurement.get(name) == protocol.get(name) for name in DEPENDS[measurement["metric"]])
    }
