"""`kdx2i new-dataset`: a folder or zip of one's own images -> the YAML of a dataset and of a preset that uses it."""

import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kdx2i.config import DatasetConfig, load_preset, names_in, validate
from kdx2i.data.archive import read_members
from kdx2i.data.image_folder import is_image
from kdx2i.data.readers import build_reader
from kdx2i.data.roles import assign_roles
from kdx2i.errors import UserError
from kdx2i.files import replacing, sha256_file, write_text
from kdx2i.foreign import tensor_metadata
from kdx2i.stages.progress import progress_bar

SMALLEST_CLASS = 4
"""Images: two to train on and two to test on, which a distance needs."""
COLUMN = "animal-faces"
"""The dataset of Table 1 in whose column one's own stands."""


@dataclass(frozen=True)
class NewDataset:
    """What is asked for: the images, a name, their licence, the share of each class to test on.

    `like` is the preset whose networks and budgets are taken; `teacher` a teacher's file (`kdx2i teacher`), None for
    those of that preset.
    """

    source: Path
    name: str
    licence: str
    title: str = ""
    test_share: float = 0.25
    like: str = "open"
    teacher: Path | None = None
    seed: int = 0


def new_dataset(root: Path, asked: NewDataset) -> tuple[Path, Path]:
    """Write `benchmarks/datasets/<name>.yaml` and `benchmarks/presets/<name>.yaml`, and return their paths.

    A folder is packed to `data/raw/<name>.zip`, so that its bytes have a checksum; an archive stays where it is. The
    counts of the split are written down, and compared when it is made. `UserError` for a name that is taken, for images
    that are not in one sub-folder a class, and for a class of fewer than four images; nothing is written then.
    """
    places = [root / "benchmarks" / kind / f"{asked.name}.yaml" for kind in ("datasets", "presets")]
    for place in places:
        if place.exists():
            raise UserError(f"{place} exists: choose another --name, or delete it")
    if not asked.licence.strip():
        raise UserError("--licence is empty: say what the images may be used for, e.g. `own photographs` or CC0-1.0")
    if asked.like not in names_in(root / "benchmarks" / "presets"):
        raise UserError(f"there is no preset `{asked.like}` to be like")
    description = _described(asked, Path("data") / "raw" / f"{asked.name}.zip", "0" * 64, {})
    validate(DatasetConfig, description, "the new dataset")
    preset = _preset(root, asked)
    made = _archive(root, asked)
    written: list[Path] = []
    try:
        description = _described(asked, made, sha256_file(root / made), {})
        counts = _counts(root, validate(DatasetConfig, description, "the new dataset"), asked.source)
        description = _described(asked, made, description["source"]["files"]["archive"]["sha256"], counts)
        heads = (
            f"# {asked.title or asked.name}: written by `kdx2i new-dataset`.",
            f"# {asked.name} like {asked.like}.",
        )
        for place, head, content in zip(places, heads, (description, preset), strict=True):
            write_text(place, f"{head}\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}")
            written.append(place)
        load_preset(root, asked.name)
    except BaseException:
        for path in (*written, *([root / made] if asked.source.is_dir() else [])):
            path.unlink(missing_ok=True)
        raise
    return places[0], places[1]


def _archive(root: Path, asked: NewDataset) -> Path:
    """Return the archive of the images, below the root where it lies there; a folder is packed first."""
    source = asked.source
    if not source.exists():
        raise UserError(f"{source} does not exist: name a folder or an archive with one sub-folder of images a class")
    if not source.is_dir():
        whole = source.resolve()
        return whole.relative_to(root) if whole.is_relative_to(root) else whole
    place = Path("data") / "raw" / f"{asked.name}.zip"
    if (root / place).exists():
        raise UserError(f"{root / place} exists: choose another --name, or delete it")
    count = sum(1 for path in source.rglob("*") if is_image(path.relative_to(source).as_posix()))
    with (
        progress_bar("packed", count) as advance,
        replacing(root / place) as temporary,
        zipfile.ZipFile(temporary, "w") as packed,
    ):
        for name, data in read_members(source, wanted=is_image):
            member = zipfile.ZipInfo(name)  # dated 1980: the same images give the same bytes
            member.external_attr = 0o644 << 16
            packed.writestr(member, data)
            advance(1)
    return place


def _counts(root: Path, dataset: DatasetConfig, source: Path) -> dict[str, int]:
    """Return the number of classes, and of training and test images, that the split will have."""
    entries = build_reader(dataset, root).entries()
    sizes = Counter(entry.label for entry in entries)
    small = [label for label, size in sorted(sizes.items()) if size < SMALLEST_CLASS]
    if small:
        raise UserError(
            f"{source}: class {small[0]} has {sizes[small[0]]} images, and each needs at least {SMALLEST_CLASS}: two "
            "to train on and two to test on"
        )
    if len(sizes) < 2:
        raise UserError(f"{source} has one class, {next(iter(sizes))}: translation needs two sub-folders of images")
    roles = Counter(assign_roles(entries, dataset.split).values())
    return {"classes": len(sizes), "train": roles["train"], "test": roles["test"]}


def _described(asked: NewDataset, archive: Path, sha256: str, counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "name": asked.name,
        "title": asked.title or asked.name,
        "source": {"kind": "archive", "files": {"archive": {"path": archive.as_posix(), "sha256": sha256}}},
        "licence": asked.licence,
        "reader": "image-folder",
        "options": {},
        "split": {"rule": "fraction", "train": round(1 - asked.test_share, 6), "seed": asked.seed},
        "expects": dict(counts),
    }


def _preset(root: Path, asked: NewDataset) -> dict[str, Any]:
    """Return a preset on one's own data: that of `like`, or with one's own teacher, of which students are distilled."""
    preset: dict[str, Any] = {
        "name": asked.name,
        "title": f"own data: {asked.title or asked.name}, networks and budgets of {asked.like}",
        "extends": asked.like,
        "datasets": {COLUMN: asked.name},
    }
    if asked.teacher is None:
        return preset
    config = tensor_metadata(asked.teacher).get("config")
    generator = config.get("generator") if isinstance(config, dict) else None
    side = generator.get("img_resolution") if isinstance(generator, dict) else None
    if not isinstance(side, int):
        raise UserError(
            f"{asked.teacher} is no StyleGAN2 teacher: `kdx2i teacher FILE.safetensors --official YOURS.pkl` makes one "
            "of NVIDIA's or rosinality's files"
        )
    whole = asked.teacher.resolve()
    place = whole.relative_to(root) if whole.is_relative_to(root) else whole
    return preset | {
        "resolutions": {256: side},
        "teachers": {"own": {side: str(place)}},
        "students": {},
        "architectures": {"stargan_v2": {"teacher": "own"}},
    }
