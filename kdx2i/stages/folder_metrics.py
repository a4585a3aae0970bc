"""The metrics of two folders: those of the catalogue, and what only folders are asked for. Torch-free."""

from kdx2i.metric_catalogue import METRICS, Metric, Need

_MANIFOLD = "kdx2i.metrics.distances.manifold:precision_and_recall"
_PAIRS = frozenset({Need.TWO_IMAGES})

MANIFOLD = ("Precision", "Recall")
"""Computed together by `kdx2i.metrics.distances.manifold`. No table of the paper has them."""

FOLDER_METRICS: dict[str, Metric] = METRICS | {
    name: Metric(name, name.lower(), name, "higher", 3, _MANIFOLD, _PAIRS) for name in MANIFOLD
}
