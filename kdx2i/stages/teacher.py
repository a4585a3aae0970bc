"""Stage `teacher`: train a teacher on a dataset, or convert an official weight file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdx2i.config import names_in, read_yaml, validate
from kdx2i.config.models import listed
from kdx2i.data.images import ImageSet, Split
from kdx2i.errors import UserError
from kdx2i.files import sha256_file, sha256_json, write_bytes, write_json
from kdx2i.provenance import git_commit, packages
from kdx2i.stages.teacher_forms import FORMS, BigGANTeacherConfig, TeacherConfig
from kdx2i.stages.training import discard
from kdx2i.teacher.biggan_import import import_biggan
from kdx2i.teacher.biggan_weights import save_biggan
from kdx2i.teacher.growing import grow_from
from kdx2i.teacher.importer import import_official
from kdx2i.teacher.training import TeacherTraining
from kdx2i.teacher.weights import load_teacher, save_teacher
from kdx2i.training import distributed
from kdx2i.training.checkpoint import load_tensors, select
from kdx2i.training.determinism import describe_device, make_deterministic, pick_device
from kdx2i.training.loop import LoopSettings, train


def load_config(root: Path, name: str) -> TeacherConfig | BigGANTeacherConfig:
    """Return a teacher's configuration; an unknown name raises `UserError` with the known ones."""
    folder = root / "benchmarks" / "teachers"
    if name not in names_in(folder):
        raise UserError(f"there is no teacher `{name}`; the teachers are {', '.join(names_in(folder)) or '(none)'}")
    path = folder / f"{name}.yaml"
    data = read_yaml(path)
    model: Any = TeacherConfig
    if "form" in data:
        form = str(data["form"])
        if form not in FORMS:
            raise UserError(f"{path}: there is no form `{form}`; say {listed(FORMS)}, or nothing for a StyleGAN2")
        model = FORMS[form]
    config: TeacherConfig | BigGANTeacherConfig = validate(model, data, str(path))
    return config


def train_teacher(root: Path, name: str, iterations: int | None = None) -> Path:
    """Train a teacher and write `<name>.safetensors`, its sample grid and its provenance beside its YAML.

    Resumes an interrupted training. `iterations` replaces the configured number.
    """
    config = load_config(root, name)
    if iterations is not None:
        config = config.model_copy(update={"iterations": iterations})
    make_deterministic()
    distributed.start()
    device = pick_device()
    dataset = root / "data" / config.dataset
    split = Split(dataset)
    images = ImageSet(split, "train", config.resolution)
    training: Any = config.build(split, images, device)
    if config.grow_from is not None:
        _grow(training, root / config.grow_from)
    # Resume state belongs to one configuration: another one must not go on from it.
    start = sha256_file(root / config.grow_from) if config.grow_from is not None else None
    key = sha256_json([config.model_dump(mode="json", exclude={"iterations"}), start])
    work = root / "results" / ".work" / "teachers" / f"{name}-{key[:16]}"
    loop = LoopSettings(config.iterations, config.seed, checkpoint_every=500, sample_every=500, log_every=50)
    train(training, loop, work, f"teacher {name}")
    place = root / "benchmarks" / "teachers"
    target = place / f"{name}.safetensors"
    if distributed.rank() == 0:
        provenance: dict[str, Any] = {
            "teacher": config.model_dump(mode="json"),
            "images": len(images),
            "images_seen": config.iterations * config.batch,
            "split_sha256": sha256_file(dataset / "split.csv"),
            "device": describe_device(device),
            "packages": packages(),
            "git_commit": git_commit(root),
        }
        config.save(target, training, provenance)
        write_bytes(place / f"{name}.png", (work / "samples.png").read_bytes())
        write_json(place / f"{name}.provenance.json", {"sha256": sha256_file(target), **provenance})
        discard(work)
    distributed.finish()
    return target


def import_teacher(official: Sequence[Path], target: Path) -> Path:
    """Convert official weights to a teacher file, executing none of their code.

    One file is a StyleGAN2 (rosinality `.pt`, NVIDIA `.pkl`); several are the networks of a BigGAN, one a file.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"{target} must end in .safetensors: that is the format of teacher files")
    if len(official) > 1:
        big = import_biggan(official)
        save_biggan(target, big.generator, big.discriminator, big.provenance, more=big.more)
    else:
        teacher = import_official(official[0])
        save_teacher(target, teacher.generator, teacher.discriminator, teacher.provenance)
    return target


def _grow(training: TeacherTraining, path: Path) -> None:
    load_teacher(path)  # A teacher file in full, or a clear refusal, before anything is copied from it.
    tensors = {name: tensor.float() for name, tensor in load_tensors(path)[0].items()}
    grow_from(training.generator, select(tensors, "generator"))
    grow_from(training.averages["generator"], select(tensors, "generator"))
    grow_from(training.discriminator, select(tensors, "discriminator"))
