"""What every job of a preset's tables costs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kdx2i.costs.scoring import classifier_flop, diversity_flop, extractor_flop, matcher_flop, segmenter_flop
from kdx2i.costs.sheet import Cost, settings_of
from kdx2i.costs.trainings import TrainingCounts, count_distillation, count_run, with_classes
from kdx2i.data.rows import Split
from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS, Need, main_distance
from kdx2i.metrics.segmentation.settings import SegmenterSettings
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import CLASSIFIER, CONTROLS, DISTILLED, EVALUATION, RUN, SEGMENTER
from kdx2i.plan.leaf import upstream_of

TF32, FLOAT32 = 31.9e12, 15.5e12
"""FLOP a second of one H100: 12.7 TFLOP of a StarGAN v2's iteration at 256 px in 398 and in 822 ms (docs/speed.md)."""
MEASURED = ("stargan_v2", 256)
PAPER_SIZES = {"birds": (48_527, 555), "foods": (31_395, 256)}
"""Images and classes that the paper names, where a published set's own number is not stated in its YAML."""


@dataclass(frozen=True)
class Sizes:
    """Of a dataset: its classes, and its training and test images."""

    classes: int
    train: int
    test: int


def sizes_of(plan: Plan, dataset: str) -> Sizes:
    """Return the sizes of a dataset, as its YAML or the paper states them, else of its split; `UserError` without."""
    config = plan.dataset(dataset)
    known = config.expects
    if known.classes and known.train is not None and known.test is not None:
        return Sizes(known.classes, known.train, known.test)
    if dataset in PAPER_SIZES:
        images, classes = PAPER_SIZES[dataset]
        train = round(float(config.split.train or 0) * images)
        return Sizes(classes, train, images - train)
    folder = plan.root / "data" / dataset
    if not (folder / "split.csv").is_file():
        raise UserError(f"the size of {dataset} is not known: make its split first (kdx2i split --dataset {dataset})")
    split = Split(folder)
    return Sizes(len(split.classes), len(split.select("train")), len(split.select("test")))


class Jobs:
    """The costs of a preset's jobs, each method and student counted once."""

    def __init__(self, plan: Plan, sizes: Callable[[Plan, str], Sizes] = sizes_of) -> None:
        self.plan, self._sizes = plan, sizes
        self._counted: dict[str, TrainingCounts] = {}

    def costs(self) -> dict[str, Cost]:
        """Return the cost of every job behind the tables, of the first seed, inputs before what is made of them."""
        leaves = upstream_of([self.plan.rendered(name) for name in self.plan.tables])
        first = self.plan.seeds[0]
        return {leaf.name: self.cost(leaf) for leaf in leaves if leaf.address.get("seed", first) == first}

    def cost(self, leaf: Leaf[Any]) -> Cost:
        """Return the cost of one job."""
        kinds: Mapping[str, Callable[[Leaf[Any]], Cost]] = {
            RUN.name: self._training,
            DISTILLED.name: self._training,
            EVALUATION.name: self._evaluation,
            CONTROLS.name: self._controls,
            CLASSIFIER.name: self._classifier,
            SEGMENTER.name: self._segmenter,
        }
        if leaf.kind.name in kinds:
            return kinds[leaf.kind.name](leaf)
        reason = "not counted: it has no recipe of its own here" if leaf.kind.work == "training" else "no GPU"
        return Cost(leaf.name, leaf.kind.name, "", 0.0, reason)

    def sizes(self, dataset: str) -> Sizes:
        """Return the sizes of a dataset."""
        return self._sizes(self.plan, dataset)

    def counts(self, leaf: Leaf[Any]) -> TrainingCounts:
        """Return the counts of a run or a student; runs of the same networks and budget are counted once."""
        spec = leaf.spec
        if leaf.kind is DISTILLED:
            key = leaf.name
            if key not in self._counted:
                self._counted[key] = count_distillation(spec)
            return self._counted[key]
        labels, classes = tuple(self.plan.dataset(spec.dataset).labels), self.sizes(spec.dataset).classes
        same = f"{spec.architecture} {spec.resolution} {spec.networks} {spec.train}"
        if same not in self._counted:
            self._counted[same] = self._counted[f"{same} {classes}"] = count_run(spec, classes, labels)
        key = f"{same} {classes}"
        if key not in self._counted:
            self._counted[key] = with_classes(self._counted[same], spec, classes, labels)
        return self._counted[key]

    def _training(self, leaf: Leaf[Any]) -> Cost:
        spec, found = leaf.spec, self.counts(leaf)
        budget = spec.train if leaf.kind is RUN else spec.distill
        hours = found.flop / TF32 * int(budget["iterations"]) / 3600
        measured = leaf.kind is RUN and (spec.architecture, spec.resolution) == MEASURED
        how = "measured" if measured and self.plan.preset.name == "paper" else "computed"
        kept = found.kept
        return Cost(leaf.name, leaf.kind.name, settings_of(leaf), hours, how, found.peak, kept.checkpoint, kept.weights)

    def _scored(self, leaf: Leaf[Any], made: float, exact: float | None) -> Cost:
        """Return the cost of a job that makes images and scores them, in FLOP."""
        how = "computed" if exact is not None else "computed without the feature network"
        hours = (made / TF32 + (exact or 0.0) / FLOAT32) / 3600
        return Cost(leaf.name, leaf.kind.name, settings_of(leaf), hours, how)

    def _embedding(self, settings: EvaluationSettings, side: int) -> float | None:
        return extractor_flop(settings.extractor, settings.preprocessing, side)

    def _evaluation(self, leaf: Leaf[Any]) -> Cost:
        spec, sizes = leaf.spec, self.sizes(leaf.spec.dataset)
        settings, side = EvaluationSettings.model_validate(spec.evaluation), spec.resolution
        embedding, image = self._embedding(settings, side), self.counts(leaf.inputs["run"]).images[spec.guidance]
        number = self._asked(settings, sizes, spec.task, directed=spec.direction is not None)
        times = 2 if main_distance(spec.metrics, settings.learned_by) else 1
        made, exact = times * number * image, times * number * (embedding or 0.0)
        needed = {need for name in spec.metrics for need in METRICS[name].needs}
        if Need.CLASSIFIER in needed:
            exact += self._accuracies(settings, sizes, side, number)
        if Need.OUTPUTS in needed and settings.diversity is not None:
            asked = settings.diversity.sources * settings.diversity.outputs
            made += asked * image
            exact += asked * (diversity_flop(settings.diversity.network, side) or 0.0)
        if Need.LABEL_MAPS in needed:
            exact += number * self._maps(spec.dataset, side).image
        if Need.ENCODER in needed:
            exact += number * matcher_flop(spec.task, side)
        return self._scored(leaf, made, exact if embedding is not None else None)

    def _asked(self, settings: EvaluationSettings, sizes: Sizes, task: str, *, directed: bool) -> int:
        """Return how many images an evaluation asks for."""
        if task != "image-to-image":
            return sizes.test * settings.conditions_per_image
        return settings.images_per_direction if directed else settings.images_per_class * sizes.classes

    def _accuracies(self, settings: EvaluationSettings, sizes: Sizes, side: int, number: int) -> float:
        """Return the FLOP of RC, which sees `number` images, and of FC, which is trained on them."""
        network = classifier_flop(settings.classifier, sizes.classes, side)
        if network is None:
            return 0.0
        return number * network.image + number * settings.classifier.epochs * network.epoch + sizes.test * network.image

    def _maps(self, dataset: str, side: int) -> Any:
        labels = len(self.plan.dataset(dataset).labels)
        return segmenter_flop(
            SegmenterSettings.model_validate(self.plan.catalogue.segmenter().model_dump()), labels, side
        )

    def _controls(self, leaf: Leaf[Any]) -> Cost:
        """Return the cost of controls: real images, and blank, mean and noise images as many as a run's."""
        spec, sizes = leaf.spec, self.sizes(leaf.spec.dataset)
        settings, side = EvaluationSettings.model_validate(spec.evaluation), spec.resolution
        embedding = self._embedding(settings, side)
        number = self._asked(settings, sizes, spec.task, directed=False)
        real = sizes.train + sizes.test
        seen = real + 3 * number + 3 * len(spec.directions) * settings.images_per_direction
        exact = seen * (embedding or 0.0)
        needed = {need for name in spec.metrics for need in METRICS[name].needs}
        if Need.CLASSIFIER in needed:
            exact += 4 * self._accuracies(settings, sizes, side, number)
        if Need.LABEL_MAPS in needed:
            exact += 4 * number * self._maps(spec.dataset, side).image
        return self._scored(leaf, 0.0, exact if embedding is not None else None)

    def _classifier(self, leaf: Leaf[Any]) -> Cost:
        spec, sizes = leaf.spec, self.sizes(leaf.spec.dataset)
        settings = EvaluationSettings.model_validate(spec.evaluation).classifier
        network = classifier_flop(settings, sizes.classes, spec.resolution)
        if network is None:
            return Cost(leaf.name, leaf.kind.name, "", 0.0, "no GPU")
        return self._scored(leaf, 0.0, sizes.train * settings.epochs * network.epoch)

    def _segmenter(self, leaf: Leaf[Any]) -> Cost:
        spec, sizes = leaf.spec, self.sizes(leaf.spec.dataset)
        network = self._maps(spec.dataset, spec.resolution)
        epochs = SegmenterSettings.model_validate(spec.segmenter).epochs
        return self._scored(leaf, 0.0, sizes.train * epochs * network.epoch + sizes.test * network.image)
