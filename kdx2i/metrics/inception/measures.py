"""IS: what the catalogue's entry computes."""

from kdx2i.metrics.entries import Entry
from kdx2i.metrics.inception.score import score_entry
from kdx2i.metrics.trial import Trial


def inception_score(trial: Trial) -> Entry:
    """Return the entry IS of the generated images' logits under the convention that the trial chooses."""
    logits = trial.generated.logits
    assert logits is not None  # the catalogue's entry needs them
    if "is" not in trial.choices:
        return trial.missing("no convention of the Inception Score is chosen", n_real=0)
    return score_entry(logits, trial.choices["is"], trial.real.extractor.name)
