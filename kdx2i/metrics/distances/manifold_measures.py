"""Precision and recall as columns of a table: what the catalogue's entries compute, where a table asks for them."""

from kdx2i.errors import UserError
from kdx2i.metrics.distances.estimates import normal_estimate
from kdx2i.metrics.distances.manifold import precision_and_recall
from kdx2i.metrics.entries import Entry, estimate_entry
from kdx2i.metrics.trial import Trial


def precision(trial: Trial) -> Entry:
    """Return the entry Precision: the share of generated features within the manifold of the pooled real ones."""
    return _entry(trial, 0)


def recall(trial: Trial) -> Entry:
    """Return the entry Recall: the share of pooled real features within the manifold of the generated ones."""
    return _entry(trial, 1)


def _entry(trial: Trial, which: int) -> Entry:
    """Return one of the two; both are computed for each, which costs less than an image's features."""
    real = trial.real.pooled_real
    try:
        value = precision_and_recall(trial.generated.features, real.features)[which]
    except UserError as error:
        return trial.missing(str(error))
    return estimate_entry(normal_estimate(value, None), len(real), len(trial.generated), len(trial.real.classes))
