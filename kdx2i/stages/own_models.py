"""Models that draw images of one's own conditions: a shipped student, the folder of a run, a published checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from kdx2i.config import TaskName, find_root, names_in, validate
from kdx2i.errors import UserError
from kdx2i.files import sha256_file
from kdx2i.foreign import check_network, read_document, tensor_metadata
from kdx2i.methods.build import build_method
from kdx2i.methods.catalogue import architectures
from kdx2i.methods.official_models import build_published, read_published
from kdx2i.plan.shipped import read_shipped
from kdx2i.plan.specs import RunSpec
from kdx2i.stages.own_inputs import listed_images, maps_by_name, squares
from kdx2i.stages.student_files import student_tensors
from kdx2i.training.checkpoint import load_module, load_tensors, select
from kdx2i.training.starts import weights_follow

STUDENTS = Path("benchmarks") / "students"
_READ = {"text": "captions", "speech": "utterances", "label-map": "label maps"}
RUN_FILES = ("networks.safetensors", "provenance.json")


@dataclass(frozen=True)
class OwnModel:
    """A model, ready to draw.

    `method` generates from a condition of `task`; `modes` are the ways in which it can be asked. Images have
    `resolution` px. `classes` are the names of the classes that image-to-image models translate to, in the order of
    their numbers. `source` says where it is from, `files` are the SHA-256 of what was read, by name.
    """

    method: Any
    task: TaskName
    modes: tuple[str, ...]
    resolution: int
    classes: tuple[str, ...]
    source: str
    files: Mapping[str, str]


def open_model(name: str, device: torch.device) -> OwnModel:
    """Return the shipped student of a name, or the model of a run's folder or of a student's file.

    `UserError` for a name that is none of these, and for a file that is damaged or does not fit.
    """
    path = Path(name)
    if path.is_dir():
        return _open_run(path, device)
    if path.suffix == ".safetensors":
        return _open_student(path, device)
    try:
        folder = find_root() / STUDENTS
    except UserError:
        raise UserError(f"{name} is no folder of a run, and shipped models are known in the repository only") from None
    shipped = [student for student in names_in(folder) if (folder / f"{student}.safetensors").is_file()]
    if name not in shipped:
        i2i = [student for student in shipped if student.startswith("stargan_v2-kd-r")]
        raise UserError(
            f"there is no model `{name}`: name a shipped student ({', '.join(i2i)}) or the folder of a run "
            f"(with {' and '.join(RUN_FILES)})"
        )
    return _open_student(folder / f"{name}.safetensors", device)


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint: its file, its architecture, and what the file does not say.

    `classes` are names, in the order of their numbers. `exemplars` are images with their label maps, two folders (or
    files), for a model that draws by some.
    """

    path: Path
    architecture: str
    resolution: int | None = None
    encoder: Path | None = None
    classes: tuple[str, ...] = ()
    exemplars: tuple[Path, Path] | None = None


def open_checkpoint(asked: Checkpoint, device: torch.device) -> OwnModel:
    """Return a model of its authors; `UserError` where something that it needs is not given, or does not fit."""
    published = read_published(asked.architecture, asked.path, asked.resolution)
    registered = architectures()[asked.architecture]
    if registered.reads_encoder and asked.encoder is None:
        raise UserError(
            f"{asked.architecture} reads its conditions by an encoder: give --encoder, a file that "
            "`kdx2i encoder FILE --official ...` makes of the published one"
        )
    if published.needs_exemplars and asked.exemplars is None:
        raise UserError(f"{asked.architecture} draws by images with label maps: give --references and --reference-maps")
    translates = registered.task == "image-to-image"
    if asked.classes and translates and len(asked.classes) != published.num_classes:
        raise UserError(f"{asked.path} has {published.num_classes} classes, and --classes names {len(asked.classes)}")
    images, more = None, {}
    if asked.exemplars is not None and published.needs_exemplars:
        images = _exemplars(*asked.exemplars, published.resolution)
        more = {"exemplars": len(images.task.images)}
    method = build_published(
        asked.architecture, published, device, encoders=asked.encoder, images=images, networks=more
    )
    read = (*published.files, *([] if asked.encoder is None else [asked.encoder]))
    return OwnModel(
        method,
        registered.task,
        published.modes or registered.modes,
        published.resolution,
        asked.classes or tuple(str(number) for number in range(published.num_classes)),
        asked.path.name,
        {file.name: sha256_file(file) for file in read},
    )


def _exemplars(images: Path, maps: Path, resolution: int) -> Any:
    """Return images with their label maps as what CoCosNet v2 keeps its exemplars of."""
    listing = listed_images(images)
    pictures = torch.stack(list(squares(listing, resolution)))
    labels = torch.stack(maps_by_name(maps, listing.names, resolution))
    task = SimpleNamespace(images=pictures, maps=labels, is_test=torch.zeros(len(pictures), dtype=torch.bool))
    return SimpleNamespace(task=task)


def _open_student(path: Path, device: torch.device) -> OwnModel:
    """Open a student of one domain; those of text, speech and label maps know no condition but their teacher's."""
    spec = read_shipped(path).spec
    registered = architectures().get(spec.architecture)
    if registered is None:
        raise UserError(f"{path} is a student of {spec.architecture}, which is no architecture here")
    if registered.task != "image-to-image":
        raise UserError(
            f"{path.stem} is distilled only: it draws from features of its teacher and reads no "
            f"{_READ[registered.task]} yet. A run of {spec.architecture} that was trained on them does: "
            "--model results/open/runs/.../s0, as `snakemake table2` leaves them"
        )
    method = _built(spec.architecture, spec.networks, spec.resolution, 1, device, path)
    _load(method, student_tensors(path), path)
    files = {path.name: sha256_file(path)}
    return OwnModel(method, registered.task, registered.modes, spec.resolution, ("any",), path.stem, files)


def _open_run(folder: Path, device: torch.device) -> OwnModel:
    """Open what a training left in a folder."""
    weights, beside = (folder / name for name in RUN_FILES)
    missing = [path.name for path in (weights, beside) if not path.is_file()]
    if missing:
        raise UserError(f"{folder} is no folder of a run: it has no {missing[0]}")
    document = read_document(beside)
    try:
        spec = RunSpec.model_validate(document.get("spec") if isinstance(document, dict) else None)
    except ValidationError:
        raise UserError(f"{beside} is not the provenance of a run: `kdx2i train` writes one") from None
    registered = architectures().get(spec.architecture)
    if registered is None:
        raise UserError(f"{beside} names the architecture {spec.architecture}, which does not exist here")
    classes = tensor_metadata(weights).get("classes")
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise UserError(f"{weights} does not say which classes it was trained on: `kdx2i train` writes them")
    encoder = None if spec.encoder_file is None else find_root() / spec.encoder_file
    method = _built(spec.architecture, spec.networks, spec.resolution, len(classes), device, beside, encoder)
    tensors, _ = load_tensors(weights)
    _load(method, tensors, weights)
    files = {path.name: sha256_file(path) for path in (weights, *([] if encoder is None else [encoder]))}
    return OwnModel(method, spec.task, registered.modes, spec.resolution, tuple(classes), str(folder), files)


def _built(
    architecture: str,
    networks: Mapping[str, Any],
    resolution: int,
    num_classes: int,
    device: torch.device,
    where: Path,
    encoders: Path | None = None,
) -> Any:
    """Build a method from the description that a file gives, after the bounds of such descriptions."""
    check_network({"config": {**networks, "resolution": resolution}}, where)
    validate(architectures()[architecture].settings, {"networks": dict(networks)}, str(where))
    with weights_follow():
        return build_method(
            architecture, {"networks": dict(networks)}, resolution, num_classes, device, encoders=encoders
        )


def _load(method: Any, tensors: Mapping[str, Tensor], path: Path) -> None:
    for name, module in method.averages.items():
        load_module(module, select(tensors, name), path)
