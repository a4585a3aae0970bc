"""RC and FC (Shmelkov et al. 2018): what the catalogue's entries compute."""

import math

from kdx2i.metrics.classifiers.classifier import Classifier, predict, wilson_interval
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.entries import Entry
from kdx2i.metrics.threads import single_thread
from kdx2i.metrics.trial import RealSide, Trial


def real_accuracy(trial: Trial) -> Entry:
    """Return the entry RC: trained on real training images, tested on the generated ones with their labels."""
    side, tested = trial.real, trial.generated
    train = side.part("train")
    reason = None if side.given_classifier else _untrainable(side, train, "real training")
    reason = reason or (None if len(tested) else "no image to test the real classifier on")
    if reason:
        return trial.missing(reason, n_real=len(train))
    trained = side.real_classifier.samples
    counts = {"n_real": trained, "n_generated": len(tested), "n_train": trained, "n_test": len(tested)}
    return {**_accuracy(side, side.real_classifier, tested), **counts}


def fake_accuracy(trial: Trial) -> Entry:
    """Return the entry FC: trained on the generated images, tested on the real test images."""
    side, generated = trial.real, trial.generated
    test = side.part("test")
    reason = _untrainable(side, generated, "generated") or (None if len(test) else "no real test image")
    if reason:
        return trial.missing(reason, n_real=len(test))
    count = len(generated)
    counts = {"n_real": len(test), "n_generated": count, "n_train": count, "n_test": len(test)}
    return {**_accuracy(side, side.train(generated), test), **counts}


def _untrainable(side: RealSide, images: EmbeddedSet, what: str) -> str | None:
    """Return why no classifier can be trained on these images, or None."""
    counts = images.counts(len(side.classes))
    absent = [name for name, count in zip(side.classes, counts, strict=True) if not count]
    return f"no {what} image of class {absent[0]} ({len(absent)} such classes)" if absent else None


def _accuracy(side: RealSide, classifier: Classifier, tested: EmbeddedSet) -> Entry:
    """Return value, 95 % Wilson interval, standard error and per-class values of a top-1 accuracy in percent.

    `tested` holds at least one image. The caller adds the counts.
    """
    images = tested.pixels() if classifier.settings.reads_images else None
    with single_thread():
        predicted = predict(classifier, images, extractor=side.extractor, features=tested.feature_tensor())
    right = predicted == tested.labels
    correct, total = int(right.sum()), len(tested)
    share = correct / total
    per_class = {}
    for label, name in enumerate(side.classes):
        of_class = right[tested.labels == label]
        value = 100.0 * int(of_class.sum()) / of_class.shape[0] if of_class.shape[0] else None
        per_class[name] = {"value": value, "n": of_class.shape[0]}
    return {
        "value": 100.0 * share,
        "standard_error": 100.0 * math.sqrt(share * (1.0 - share) / total),
        "interval": list(wilson_interval(correct, total)),
        "classes": len(side.classes),
        "per_class": per_class,
    }
