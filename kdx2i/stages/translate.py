"""`kdx2i translate`: a model asked for images of one's own conditions -> a folder of PNG files, or one grid."""

import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from kdx2i import bounds
from kdx2i.data.conditions.formats import RATE
from kdx2i.errors import UserError
from kdx2i.files import write_bytes, write_json
from kdx2i.methods.families.label_maps.maps import UNKNOWN
from kdx2i.stages.own_inputs import Given, listed_images, maps_by_name, own_conditions, own_images, squares
from kdx2i.stages.own_models import OwnModel
from kdx2i.stages.progress import progress_bar
from kdx2i.tasks.conditions import CaptionCondition, LabelMapCondition, SpeechCondition, TranslationCondition
from kdx2i.training.determinism import derive_seed
from kdx2i.training.precision import to_images, to_pixels

MOST_COLUMNS = 256
"""Outputs of one input: its references and their images are held in memory together."""
BATCH = 16
"""Images that are drawn at a time, each batch with noise of its own."""
LINE = 2
"""White pixels between the images of a grid."""


@dataclass(frozen=True)
class TranslateRequest:
    """What the command line asked for.

    `inputs`: a file, folder or zip of conditions. `output`: a folder that does not exist yet, or the PNG of a grid.
    `mode` None is the first that the other options allow. `targets` are names of classes, `outputs` how many images
    are drawn of each input (and target or reference).
    """

    inputs: Path
    output: Path
    mode: str | None = None
    references: Path | None = None
    reference_maps: Path | None = None
    targets: tuple[str, ...] = ()
    outputs: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Column:
    """What every input is translated with: a target class, and a reference uint8 [3, R, R] with its label map."""

    target: int
    reference: Tensor | None = None
    reference_map: Tensor | None = None


def run(request: TranslateRequest, model: OwnModel, device: torch.device) -> None:
    """Draw all outputs and write them: whole, or not at all. `UserError` for a request that the model cannot answer.

    The noise of a column is the same for each input, and depends on the seed and the column alone.
    """
    torch.set_deterministic_debug_mode("warn")
    _check_output(request.output)
    mode = _mode(request, model)
    columns = _columns(request, model, mode)
    inputs, count = _inputs(request, model)
    grid = request.output.suffix.lower() == ".png"
    with progress_bar("images", count * len(columns)) as advance:
        drawn = _drawn(request, model, mode, columns, inputs, device, advance)
        if grid:
            _write_grid(request.output, model.resolution, columns, count, drawn)
        else:
            _write_files(request, model, mode, columns, drawn)
    Console(stderr=True).print(
        f"{request.output}: {count * len(columns)} images by {model.source}, mode {mode}, seed {request.seed}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _mode(request: TranslateRequest, model: OwnModel) -> str:
    """Return the mode that was asked for, or that the options mean; `UserError` for one that the model lacks."""
    mode = request.mode
    if mode is None:
        by_reference = request.references is not None or len(model.modes) == 1
        mode = "reference" if by_reference and "reference" in model.modes else model.modes[0]
    if mode not in model.modes:
        raise UserError(f"{model.source} has no mode `{mode}`; its modes are {', '.join(model.modes)}")
    if (mode == "reference") != (request.references is not None):
        what = "needs --references" if mode == "reference" else "takes no --references"
        raise UserError(f"the mode `{mode}` {what}")
    if request.targets and model.task != "image-to-image":
        raise UserError(f"--target is a class to translate to, and {model.source} draws from a {model.task}")
    return mode


def _columns(request: TranslateRequest, model: OwnModel, mode: str) -> list[Column]:
    """Return what each input is translated with, in the order of the outputs."""
    targets = _targets(request, model)
    if mode == "reference":
        listing = listed_images(request.references or Path())
        labels = (
            [_reference_target(listing.classes[label], model) for label in listing.labels] if listing.classes else []
        )
        _bound(len(listing.names) * request.outputs)
        if not labels and len(targets) != 1:
            raise UserError(
                f"the class of the references is not known: put them into a sub-folder a class, or give one --target "
                f"of {_some(model.classes)}"
            )
        maps = maps_by_name(request.reference_maps, listing.names, model.resolution) if request.reference_maps else []
        references = squares(listing, model.resolution)
        each = [
            Column(labels[number] if labels else targets[0], reference, maps[number] if maps else None)
            for number, reference in enumerate(references)
        ]
    else:
        each = [Column(target) for target in targets]
    _bound(len(each) * request.outputs)
    return [column for column in each for _ in range(request.outputs)]


def _bound(columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise UserError(f"{columns} images of each input are asked for, and the most is {MOST_COLUMNS}: ask for fewer")


def _targets(request: TranslateRequest, model: OwnModel) -> list[int]:
    """Return the numbers of the target classes: those that were named, or the only one."""
    if model.task != "image-to-image":
        return [0]
    for name in request.targets:
        if name not in model.classes:
            raise UserError(f"{model.source} has no class `{name}`: --target is one of {_some(model.classes)}")
    if not request.targets and len(model.classes) > 1 and request.references is None:
        raise UserError(f"{model.source} translates to several classes: give --target, one of {_some(model.classes)}")
    return [model.classes.index(name) for name in request.targets or model.classes]


def _reference_target(folder: str, model: OwnModel) -> int:
    if folder not in model.classes:
        raise UserError(
            f"{model.source} has no class `{folder}`, a folder of references: it has {_some(model.classes)}"
        )
    return model.classes.index(folder)


def _some(classes: Sequence[str]) -> str:
    more = f" and {len(classes) - 8} more" if len(classes) > 8 else ""
    return ", ".join(classes[:8]) + more


def _inputs(request: TranslateRequest, model: OwnModel) -> tuple[Iterator[Given], int]:
    """Return the inputs, read when they are asked for, and how many there are."""
    if model.task == "image-to-image":
        listing = listed_images(request.inputs)
        return own_images(listing, model.resolution), len(listing.names)
    count = sum(1 for _ in own_conditions(request.inputs, model.task, model.resolution))
    return own_conditions(request.inputs, model.task, model.resolution), count


def _drawn(
    request: TranslateRequest,
    model: OwnModel,
    mode: str,
    columns: Sequence[Column],
    inputs: Iterator[Given],
    device: torch.device,
    advance: Any,
) -> Iterator[tuple[Given, list[Tensor]]]:
    """Yield each input with its outputs, uint8 [3, R, R] in the order of the columns."""
    for given in inputs:
        outputs: list[Tensor] = []
        for start in range(0, len(columns), BATCH):
            part = columns[start : start + BATCH]
            torch.manual_seed(derive_seed(request.seed, "translate", start))
            outputs += list(to_pixels(model.method.generate(_condition(given, part, model, mode, device))))
            advance(len(part))
        yield given, outputs


def _condition(given: Given, columns: Sequence[Column], model: OwnModel, mode: str, device: torch.device) -> Any:
    """Return the condition (`kdx2i.tasks.conditions`) of one input with some columns."""
    count, value = len(columns), given.value
    references = None
    if mode == "reference":
        references = to_images(torch.stack([c.reference for c in columns if c.reference is not None]), device)
    if isinstance(value, str):
        return CaptionCondition((value,) * count)
    if model.task == "speech":
        return SpeechCondition((value.to(device),) * count, RATE)
    if model.task == "label-map":
        maps = [column.reference_map for column in columns if column.reference_map is not None]
        labels = tuple(str(number) for number in range(model.method.settings.networks.label_nc))
        for numbers in (value, *maps):
            _check_labels(numbers, len(labels), given, model)
        repeated = value.expand(count, -1, -1).to(device)
        return LabelMapCondition(repeated, labels, references, torch.stack(maps).to(device) if maps else None)
    sources = to_images(value.expand(count, -1, -1, -1), device)
    return TranslationCondition(sources, torch.tensor([column.target for column in columns]), mode, references)


def _check_labels(numbers: Tensor, count: int, given: Given, model: OwnModel) -> None:
    """Refuse a label map uint8 [R, R] with labels that a model does not have; 255 is a pixel without a label."""
    unknown = numbers[(numbers >= count) & (numbers != UNKNOWN)]
    if len(unknown):
        raise UserError(
            f"{given.name} (or a map of its references) has the label {int(unknown.max())}, and {model.source} knows "
            f"the labels 0 to {count - 1}; {UNKNOWN} marks pixels without one"
        )


def _check_output(path: Path) -> None:
    """Refuse now, not after the work, a place that is taken."""
    if path.suffix.lower() == ".png":
        if path.is_dir():
            raise UserError(f"--output {path} is a folder: name a file for a grid")
    elif path.exists():
        raise UserError(f"--output {path} exists: name a folder that does not, or the .png of a grid")


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, and rename it to `path` when the block succeeds; else it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_files(
    request: TranslateRequest,
    model: OwnModel,
    mode: str,
    columns: Sequence[Column],
    drawn: Iterator[tuple[Given, list[Tensor]]],
) -> None:
    """Write `<input>_<number>.png`, in a folder a class where there are several, and what they were made with."""
    several = len({column.target for column in columns}) > 1
    with _new_folder(request.output) as folder:
        for given, outputs in drawn:
            for number, (column, image) in enumerate(zip(columns, outputs, strict=True), 1):
                place = folder / model.classes[column.target] if several else folder
                place.mkdir(exist_ok=True)
                path = place / f"{given.name}_{number}.png"
                if path.exists():
                    raise UserError(f"two inputs would both be written as {path.name}: rename one")
                path.write_bytes(_png(image.permute(1, 2, 0).numpy()))
        stated = {
            "model": model.source,
            "files": dict(model.files),
            "task": model.task,
            "mode": mode,
            "seed": request.seed,
            "outputs": request.outputs,
            "targets": [model.classes[column.target] for column in columns] if model.classes else [],
        }
        write_json(folder / "translation.json", stated)


def _write_grid(
    path: Path,
    resolution: int,
    columns: Sequence[Column],
    count: int,
    drawn: Iterator[tuple[Given, list[Tensor]]],
) -> None:
    """Write one PNG: a row an input, its picture first; the references, where there are some, above their columns."""
    cell = resolution + LINE
    above = any(column.reference is not None for column in columns)
    height, width = (count + above) * cell + LINE, (1 + len(columns)) * cell + LINE
    if height * width > bounds.PIXELS:
        raise UserError(
            f"a grid of {count} x {len(columns)} images has more than {bounds.PIXELS} pixels: name a folder"
        )
    canvas = np.full((height, width, 3), 255, np.uint8)

    def put(row: int, column: int, image: Tensor | None) -> None:
        if image is not None:
            top, left = row * cell + LINE, column * cell + LINE
            canvas[top : top + resolution, left : left + resolution] = image.permute(1, 2, 0).numpy()

    for number, column in enumerate(columns, 1):
        put(0, number, column.reference)
    for row, (given, outputs) in enumerate(drawn, int(above)):
        for number, image in enumerate([given.picture, *outputs]):
            put(row, number, image)
    write_bytes(path, _png(canvas))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
