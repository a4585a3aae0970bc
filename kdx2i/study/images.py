"""The images of a user study: inputs and outputs cut out of the sample grids of a table's evaluations."""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from kdx2i import bounds
from kdx2i.config.study import StudyConfig
from kdx2i.data.decode import decode_rgb
from kdx2i.errors import UserError
from kdx2i.foreign import read_document, read_plain
from kdx2i.plan.mode import Mode
from kdx2i.report.sources import Source, report_tables

COLUMNS, BLOCKS, ROWS = 16, 3, 3
"""A sample grid of image-to-image translation: blocks of a row of inputs, of references and of outputs."""
_LINE = 2  # white pixels between the images


@dataclass(frozen=True)
class StudyImages:
    """The images of a study: `targets` and `inputs` by request, `outputs` by row of the table, then request."""

    targets: list[str]
    inputs: list[Image.Image]
    outputs: dict[str, list[Image.Image]]
    places: dict[str, str]


def study_images(source: Source, config: StudyConfig) -> StudyImages:
    """Cut the images of every row of a study out of the grids of its evaluations (the first seed that has one).

    A row without a grid, or grids of other requests, raise `UserError`.
    """
    labels = [config.ours, *config.others]
    table = next((item for item in report_tables(source) if item.table.name == config.table), None)
    if table is None:
        raise UserError(f"{source.folder} has no {config.table}, whose rows the user study shows")
    targets: list[str] = []
    inputs: list[Image.Image] = []
    outputs: dict[str, list[Image.Image]] = {}
    places: dict[str, str] = {}
    for label in labels:
        key = f"{config.part}/{label}/{config.dataset}"
        leaves = [source.root / source.place(name) for name in table.evaluations.get(key, ())]
        folder = next((leaf for leaf in leaves if (leaf / "samples.png").is_file()), None)
        if folder is None:
            raise UserError(f"{source.folder} has no sample grid of {config.table} {key}, which the user study shows")
        if Mode.parse(folder.name).direction is not None:
            raise UserError(f"{folder} translates in one direction: a user study shows translations to all classes")
        own_targets = _targets(folder)
        own_inputs, outputs[label] = _cut(folder / "samples.png")
        if inputs and (own_targets, _bytes(own_inputs)) != (targets, _bytes(inputs)):
            raise UserError(f"{folder} was asked for other images than {labels[0]}: a pair must answer one request")
        targets, inputs, places[label] = own_targets, own_inputs, folder.relative_to(source.root).as_posix()
    return StudyImages(targets, inputs, outputs, places)


def _targets(folder: Path) -> list[str]:
    """Return the target class of each request of an evaluation's grid: requests are in the order of classes."""
    document = read_document(folder / "metrics.json")
    entries = document.get("values", {}) if isinstance(document, dict) else {}
    of_classes = next((entry for entry in entries.values() if entry.get("per_class")), None)
    if of_classes is None:
        raise UserError(f"{folder}/metrics.json has no value of a class, so the targets of its images are not known")
    names = [name for name, entry in of_classes["per_class"].items() for _ in range(int(entry["n_generated"]))]
    return [names[index] for index in torch.linspace(0, len(names) - 1, BLOCKS * COLUMNS).long().tolist()]


def _cut(path: Path) -> tuple[list[Image.Image], list[Image.Image]]:
    """Return the inputs and the outputs of a sample grid, in the order of requests."""
    grid = decode_rgb(read_plain(path, bounds.IMAGE_BYTES), str(path))
    side = (grid.width - _LINE) // COLUMNS - _LINE
    height = BLOCKS * ROWS * (side + _LINE) + _LINE
    if side < 1 or (grid.width, grid.height) != (COLUMNS * (side + _LINE) + _LINE, height):
        raise UserError(f"{path} is not a grid of {BLOCKS * COLUMNS} translations: evaluate the run again")

    def image(block: int, row: int, column: int) -> Image.Image:
        left, top = _LINE + column * (side + _LINE), _LINE + (block * ROWS + row) * (side + _LINE)
        return grid.crop((left, top, left + side, top + side))

    places = [(block, column) for block in range(BLOCKS) for column in range(COLUMNS)]
    inputs = [image(block, 0, column) for block, column in places]
    return inputs, [image(block, ROWS - 1, column) for block, column in places]


def _bytes(images: list[Image.Image]) -> list[bytes]:
    return [image.tobytes() for image in images]
