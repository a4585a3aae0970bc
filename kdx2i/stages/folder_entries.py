"""The values of a pair of folders, as `kdx2i score --json` writes them."""

from collections.abc import Callable, Sequence
from typing import Any

from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS, Need
from kdx2i.metrics.distances.manifold import NEIGHBOURS, precision_and_recall
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.entries import Entry
from kdx2i.metrics.scorer import Scorer

MANIFOLD = ("Precision", "Recall")
"""One pass gives both."""
_OF_ACCURACY = ("value", "interval", "n_real", "n_generated", "classes")


def folder_entries(
    scorer: Scorer, generated: EmbeddedSet, metrics: Sequence[str], refused: dict[str, str]
) -> dict[str, Entry]:
    """Return the entry of each metric, None with a reason where it is refused or what a user could mend stops it."""
    trial = scorer.trial(generated)
    entries: dict[str, Entry] = {}
    manifold: dict[str, Entry] = {}
    for name in metrics:
        if name in refused:
            entries[name] = _absent(refused[name])
            continue
        try:
            if name in MANIFOLD:
                manifold = manifold or _manifold(generated, scorer.pooled_real)
                entries[name] = manifold[name]
            else:
                entries[name] = _as_written(name, scorer.entry(trial, name), scorer.extractor.dimension)
        except UserError as error:
            entries[name] = _absent(str(error))
    return entries


def _manifold(generated: EmbeddedSet, real: EmbeddedSet) -> dict[str, Entry]:
    """Return the entries of precision and recall, which one pass gives."""
    note = f"{NEIGHBOURS} neighbours; published ones are of VGG-16's features and equal counts"
    counts = {"n_real": len(real), "n_generated": len(generated), "note": note}
    values = precision_and_recall(generated.features, real.features)
    return {name: {"value": value, **counts} for name, value in zip(MANIFOLD, values, strict=True)}


def _absent(reason: str) -> Entry:
    return {"value": None, "reason": reason}


def _as_written(name: str, entry: Entry, dimension: int) -> Entry:
    """Return an entry of `metrics.json` with what means something of two folders, and a note where one helps."""
    if entry["value"] is None:
        return _absent(entry["reason"])
    needs = METRICS[name].needs
    if Need.CLASSIFIER in needs:
        entry = {key: entry[key] for key in _OF_ACCURACY}
    elif Need.TWO_IMAGES_A_CLASS in needs:
        per_class = {label: one["value"] for label, one in entry["per_class"].items()}
        entry = {**entry, "per_class": per_class}
    elif "classes" in entry:
        entry = {key: value for key, value in entry.items() if key != "classes"}
    note = _NOTES.get(name)
    return entry if note is None else note(entry, dimension)


def _noted_fid(entry: Entry, dimension: int) -> Entry:
    count = min(entry["n_real"], entry["n_generated"])
    few = f"{count} images for {dimension} features: mostly bias, compare at equal counts only"
    return {**entry, "note": few if count - 1 < dimension else ""}


def _noted_infinity(entry: Entry, dimension: int) -> Entry:
    first, last = entry["sizes"]
    note = f"from {first} to {last} generated images"
    if not entry["linear"]:
        note += f", too few for {dimension} features: a direction, not a value"
    return {**{key: entry[key] for key in ("value", "n_real", "n_generated", "linear")}, "note": note}


def _noted_accuracy(entry: Entry, _: int) -> Entry:
    return {**entry, "note": "tested on all reference images: no held-out split is known"}


_NOTES: dict[str, Callable[[dict[str, Any], int], Entry]] = {
    "FID": _noted_fid,
    "FIDinf": _noted_infinity,
    "FC": _noted_accuracy,
}
