"""What `kdx2i score` is asked for, and the checks of it that need nothing loaded. Torch-free."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kdx2i.data.image_kinds import Alpha
from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS
from kdx2i.metrics.images.listing import Listing, list_images
from kdx2i.metrics.protocols import DIMENSIONS

STATISTICS = ".npz"

# What may be asked for, and the metric's name in the catalogue.
WORDS = {metric.word: metric.name for metric in METRICS.values() if metric.word is not None}


@dataclass(frozen=True)
class ScoreRequest:
    """What the command line asked for; `metrics` is None for all that the folders allow."""

    generated: Path
    reference: Path
    metrics: tuple[str, ...] | None = None
    extractor: str = "inception-v3-compat"
    preprocessing: str = "clean"
    input_size: int | None = None
    weights: Path | None = None
    seed: int = 0
    batch: int = 64
    infinity: bool = False
    labels: Path | None = None
    segmenter: Path | None = None
    label_order: str = "segmenter"
    alpha: Alpha = "white"
    device: str | None = None
    all_protocols: bool = False
    json: Path | None = None
    save_statistics: Path | None = None
    cross_check: bool = False

    @property
    def asked(self) -> tuple[str, ...]:
        """The metrics that were named, or all, by their names in the catalogue."""
        return self.metrics or tuple(WORDS.values())


class Listings(NamedTuple):
    """The files of the two sets of images; None for a reference that is a file of statistics."""

    generated: Listing
    reference: Listing | None


def parse_metrics(texts: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the metrics of comma-separated lists of words, each once; `UserError` names those that do not exist."""
    if texts is None or (not texts and not isinstance(texts, str)):
        return None
    joined = texts if isinstance(texts, str) else ",".join(texts)
    words = [word.strip().lower() for word in joined.split(",") if word.strip()]
    unknown = [word for word in words if word not in WORDS]
    if unknown or not words:
        what = f"there is no metric {', '.join(unknown)}" if unknown else "--metrics names no metric"
        raise UserError(f"{what}; choose from {', '.join(WORDS)}")
    return tuple(WORDS[word] for word in dict.fromkeys(words))


def check(request: ScoreRequest) -> Listings:
    """Return the files of the request's images; `UserError` for a path that does not hold what it is named for.

    An unknown preprocessing is refused here too.
    """
    if request.preprocessing not in DIMENSIONS["preprocessing"]:
        known = ", ".join(DIMENSIONS["preprocessing"])
        raise UserError(f"--preprocessing {request.preprocessing} is unknown: use one of {known}")
    statistics = request.reference.suffix == STATISTICS
    listings = Listings(list_images(request.generated), None if statistics else list_images(request.reference))
    if statistics:
        _check_file("--reference", request.reference)
    if statistics and (request.all_protocols or request.cross_check or request.save_statistics):
        raise UserError(
            f"--reference {request.reference} holds statistics: --all-protocols, --cross-check and --save-statistics "
            "need the reference images"
        )
    if request.cross_check and not (request.generated.is_dir() and request.reference.is_dir()):
        raise UserError("--cross-check needs two folders: clean-fid and torch-fidelity read no archive")
    for option, path in (("--segmenter", request.segmenter), ("--weights", request.weights)):
        if path is not None:
            _check_file(option, path)
    if request.labels is not None and not request.labels.is_dir():
        raise UserError(f"--labels {request.labels} is no folder: it must hold a PNG of class numbers for each image")
    for option, path in (("--json", request.json), ("--save-statistics", request.save_statistics)):
        if path is not None:
            check_output(option, path)
    return listings


def _check_file(option: str, path: Path) -> None:
    """Refuse what is no file that may be read."""
    try:
        if path.is_file():
            path.open("rb").close()
            return
        problem = "is no file" if path.exists() else "does not exist"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    raise UserError(f"{option} {path} {problem}")


def check_output(option: str, path: Path) -> None:
    """Refuse now, not after the work, a file that cannot be written."""
    try:
        if path.is_dir():
            raise UserError(f"{option} {path} is a folder: name a file")
        if path.exists() and not path.is_file():
            raise UserError(f"{option} {path} is no plain file, and would be replaced by one: name another place")
        parent = path.absolute().parent
        while not parent.exists():
            parent = parent.parent
        # Permissions alone do not say it: file systems are mounted read-only, and names may be too long.
        with tempfile.NamedTemporaryFile(dir=parent, prefix=f".{path.name}.", suffix=".part"):
            pass
    except NotADirectoryError:
        raise UserError(f"{option} {path} cannot be written: {parent} is no folder") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{option} {path} cannot be written: {reason}") from None
