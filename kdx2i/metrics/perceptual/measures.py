"""LPIPS: what the catalogue's entry computes."""

from kdx2i.metrics.entries import Entry
from kdx2i.metrics.perceptual.diversity import diversity
from kdx2i.metrics.trial import Trial


def outputs_diversity(trial: Trial) -> Entry:
    """Return the entry LPIPS of the outputs of each source, which are made one source at a time."""
    outputs = trial.generated.outputs
    assert outputs is not None  # the catalogue's entry needs them
    # First the network, whose building draws random numbers: outputs may be generated while they are read.
    network = trial.real.perceptual
    return diversity(outputs, network)
