"""mIoU: what the catalogue's entry computes."""

from kdx2i.metrics.distances.estimates import normal_estimate
from kdx2i.metrics.entries import Entry
from kdx2i.metrics.segmentation.mean_iou import segmentation_entry
from kdx2i.metrics.trial import Trial


def mean_iou(trial: Trial) -> Entry:
    """Return the entry mIoU of the segmented generated images and their label maps, with its 95 % interval."""
    generated, side = trial.generated, trial.real
    assert generated.label_maps is not None and side.segmenter is not None  # the catalogue's entry needs them
    labels, segmenter = generated.label_maps(), side.segmenter()
    names = segmenter.classes if labels.names is None else labels.names
    entry = segmentation_entry(generated.pixels(), labels.maps, names, segmenter, batch=side.settings.batch)
    if entry["value"] is None:
        return entry
    estimate = normal_estimate(entry["value"], entry["standard_error"])
    return entry | {"interval": None if estimate.low is None else [estimate.low, estimate.high]}
