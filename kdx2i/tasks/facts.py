"""The tasks of the paper, each stated once: what a model is given, how it is asked, how it is scored. Torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass

from kdx2i.config import TaskName
from kdx2i.metric_catalogue import METRICS, Need


@dataclass(frozen=True)
class TaskFacts:
    """One task.

    `given`: what a condition is, in words. `modes`: how a run can be asked for images. `provides`: which needs of a
    metric its evaluations meet, so which metrics a table may ask for. `controls`: the control rows that mean
    something, by name, with their titles. `image_counts`: the settings of an evaluation that say how many images it
    asks for. `distillation`: the stage 1 that it has (`kdx2i.distill.by_task`), or None.
    `module` opens it on a split (its class `OpenTask`), `scoring` asks and scores trained models (`TaskScoring`).
    """

    name: TaskName
    given: str
    modes: tuple[str, ...]
    provides: frozenset[Need]
    controls: Mapping[str, str]
    image_counts: frozenset[str]
    module: str
    scoring: str
    distillation: str | None = None

    def allows(self, metric: str) -> bool:
        """Tell whether a table may ask for a metric of the catalogue."""
        return METRICS[metric].needs <= self.provides

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that a table may ask for, in the order of the catalogue."""
        return tuple(name for name in METRICS if self.allows(name))


_POOLED = frozenset({Need.TWO_IMAGES, Need.LOGITS, Need.PARTS})
_PER_IMAGE = frozenset({"conditions_per_image"})
REAL_AGAINST_REAL = "Real against real"
"""The title of the control row that is the floor of every distance."""

CONTROL_MEANINGS: Mapping[str, str] = {
    REAL_AGAINST_REAL: "real images against real images is the floor of each metric",
    "Input copied": "the input copied is what no translation scores",
    "Conditions shuffled": "real images with the captions or utterances of others are what following none scores",
    "Label maps shuffled": "real images with the label maps of others are what following no map scores",
    "Class mean": "the mean training image of the class is what no variety scores",
    "Blank": "images of one colour, the mean of the training images, are what no drawing scores",
    "Noise images": "noise images are the other end",
}
"""What the control row of each title says, for the notes below a table, in their order."""

_REAL, _NOISE = {"real_vs_real": REAL_AGAINST_REAL}, {"noise": "Noise images"}
_BLANK = {"blank": "Blank"}
_SHUFFLED = {"conditions_shuffled": "Conditions shuffled"}

TASKS: Mapping[TaskName, TaskFacts] = {
    facts.name: facts
    for facts in (
        TaskFacts(
            "image-to-image",
            given="a source image, a target class and, in the mode `reference`, an image of that class",
            modes=("latent", "reference"),
            provides=_POOLED | {Need.CLASSES, Need.TWO_IMAGES_A_CLASS, Need.CLASSIFIER, Need.OUTPUTS},
            controls={**_REAL, "input_copied": "Input copied", "class_mean": "Class mean", **_BLANK, **_NOISE},
            image_counts=frozenset({"images_per_class", "images_per_direction"}),
            module="kdx2i.tasks.image_to_image",
            scoring="kdx2i.tasks.scoring.image_to_image",
            distillation="i2i",
        ),
        TaskFacts(
            "text",
            given="a caption",
            modes=("text",),
            provides=_POOLED | {Need.ENCODER},
            controls={**_REAL, **_SHUFFLED, **_BLANK, **_NOISE},
            image_counts=_PER_IMAGE,
            module="kdx2i.tasks.text",
            scoring="kdx2i.tasks.scoring.paired",
            distillation="x2i",
        ),
        TaskFacts(
            "speech",
            given="an utterance",
            modes=("audio",),
            provides=_POOLED | {Need.ENCODER},
            controls={**_REAL, **_SHUFFLED, **_BLANK, **_NOISE},
            image_counts=_PER_IMAGE,
            module="kdx2i.tasks.speech",
            scoring="kdx2i.tasks.scoring.paired",
            distillation="x2i",
        ),
        TaskFacts(
            "label-map",
            given="a label map and, in the mode `reference`, a training image",
            modes=("map", "reference"),
            provides=_POOLED | {Need.LABEL_MAPS},
            controls={**_REAL, "maps_shuffled": "Label maps shuffled", "blurred": "Blurred", **_BLANK, **_NOISE},
            image_counts=_PER_IMAGE,
            module="kdx2i.tasks.label_map",
            scoring="kdx2i.tasks.scoring.label_map",
            distillation="x2i",
        ),
    )
}
