"""What a preset needs from outside, looked for before the first job: data, weights, metric networks, GPUs, disk."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from kdx2i.devices import visible
from kdx2i.encoders.speech.settings import SpeechEncoderSizes
from kdx2i.errors import UserError
from kdx2i.foreign import tensor_metadata
from kdx2i.identity import ABSENT, UNREAD
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import SPLIT


@dataclass(frozen=True)
class Need:
    """One thing that results need and no rule makes.

    `kind` is `data`, `weights`, `network` or `GPU`; `wanted_by` the tables; `size` in bytes, None for what is no file
    or is missing; `advice` says how to get it, and is empty where it is there.
    """

    kind: str
    name: str
    wanted_by: tuple[str, ...]
    there: bool
    size: int | None = None
    advice: str = ""
    read: bool = True


def needs(plan: Plan, tables: Sequence[str]) -> list[Need]:
    """Return what the tables of a plan need from outside, each thing once, in the order of first use."""
    found: dict[tuple[str, str], Need] = {}
    for table in tables:
        leaves = list(plan.table(table).upstream())
        for need in [*_files(plan, leaves), *_networks(plan, leaves), *_gpus(plan, leaves)]:
            known = found.setdefault((need.kind, need.name), need)
            if table not in known.wanted_by:
                found[need.kind, need.name] = replace(known, wanted_by=(*known.wanted_by, table))
    order = {"data": 0, "weights": 1, "network": 2, "GPU": 3}
    return sorted(found.values(), key=lambda need: order[need.kind])


def require_ready(plan: Plan, tables: Sequence[str], *, here: bool = True) -> None:
    """Raise `UserError` with what is missing for tables, before any job has started.

    GPUs count where jobs run `here`: a cluster's are not those of the machine that submits.
    """
    missing = [need.name for need in needs(plan, tables) if not need.there and (here or need.kind != "GPU")]
    if missing:
        more = f" and {len(missing) - 2} more" if len(missing) > 2 else ""
        raise UserError(
            f"preset {plan.preset.name} needs what is not here: {', '.join(missing[:2])}{more}; "
            f"`kdx2i data status --preset {plan.preset_argument}` lists it and says how to get it"
        )


def free_bytes(root: Path) -> int:
    """Return the free space, in bytes, where results are written."""
    return shutil.disk_usage(root).free


def _files(plan: Plan, leaves: Iterable[Leaf[Any]]) -> Iterator[Need]:
    """Yield the files that leaves read and nothing here makes."""
    for leaf in leaves:
        for name, digest in leaf.files.items():
            kind = "data" if leaf.kind is SPLIT else "weights"
            if digest == ABSENT:
                yield Need(kind, name, (), there=False, advice=_advice(plan, leaf, name))
            else:
                yield Need(kind, name, (), there=True, size=(plan.root / name).stat().st_size, read=digest != UNREAD)


def _advice(plan: Plan, leaf: Leaf[Any], name: str) -> str:
    if leaf.kind is SPLIT:
        config = plan.dataset(str(leaf.address["dataset"]))
        urls = [file.url for file in config.source.files.values() if file.path == name and file.url]
        return f"{urls[0] if urls else 'see its YAML file'} ({config.licence})"
    if name in plan.preset.encoders.values():
        return f"kdx2i encoder {name} --official FILE ... (docs/paper-preset.md)"
    if name.endswith(".safetensors") and any(name in files.values() for files in plan.preset.teachers.values()):
        return f"kdx2i teacher {name} --official FILE ... (docs/paper-preset.md)"
    return "put it there (docs/paper-preset.md)"


def _networks(plan: Plan, leaves: Sequence[Leaf[Any]]) -> Iterator[Need]:
    """Yield the published networks that score or train, and that no package brings."""
    scored = [leaf for leaf in leaves if hasattr(leaf.spec, "metrics")]
    if scored:
        yield from _found(plan.evaluation_settings["extractor"], partial(_inception, None))
    if any("LPIPS" in leaf.spec.metrics for leaf in scored):
        yield from _found(plan.evaluation_settings["diversity"]["network"], _trunk)
    trainings = [leaf.spec.train for leaf in leaves if hasattr(leaf.spec, "train")]
    for train in trainings:
        if train.get("perceptual") != "vgg19" or train.get("add_vgg_loss") is False:
            continue
        if "vgg19" in train:
            advice = "the file vgg19_conv.pth of CoCosNet v2's authors (docs/paper-preset.md)"
            yield _at(f"VGG19 of CoCosNet v2 ({train['vgg19']})", plan.root / str(train["vgg19"]), advice)
        else:
            yield from _found("VGG19", partial(_vgg19, train.get("vgg19_weights")))
    for leaf in leaves:
        if getattr(leaf.spec, "task", None) == "speech" and leaf.spec.encoder_file is not None:
            yield from _found(*_image_network(plan, leaf))


def _image_network(plan: Plan, leaf: Leaf[Any]) -> tuple[str, Callable[[str], Path | None]]:
    """Return the network that images are read by where speech is, and how it is looked for."""
    recipe = leaf.inputs["encoder"].spec.config if "encoder" in leaf.inputs else {}
    path = plan.root / leaf.spec.encoder_file
    sizes = recipe.get("encoder") or (tensor_metadata(path).get("sizes") if path.is_file() else {})
    given = getattr(leaf.spec, "networks", {}).get("image_weights") or recipe.get("image_weights")
    return SpeechEncoderSizes.model_validate(sizes).image_network, partial(_inception, given)


def _found(name: str, look: Callable[[str], Path | None]) -> Iterator[Need]:
    """Yield a published network: what `look(name)` gives is its path, or None where a package brings it."""
    try:
        path = look(name)
    except UserError as error:
        yield Need("network", name, (), there=False, advice=str(error).partition("; ")[2] or str(error))
        return
    if path is not None:
        yield _at(name, path, f"{path} is missing")


def _at(name: str, path: Path, advice: str) -> Need:
    if path.is_file():
        return Need("network", name, (), there=True, size=path.stat().st_size)
    return Need("network", name, (), there=False, advice=advice)


def _inception(given: str | None, name: str) -> Path | None:
    if not name.startswith("inception-v3"):
        return None
    from kdx2i.metrics.extractors.weights import find_inception, find_torchvision

    return (find_torchvision(given) if name == "inception-v3-torchvision" else find_inception(given))[0]


def _trunk(name: str) -> Path | None:
    if name.startswith("efficientnet"):  # Without PyTorch, which a workflow's start would wait for.
        return None
    from kdx2i.metrics.perceptual.trunks import TRUNKS

    return _published(name, TRUNKS[name].file, os.environ.get(TRUNKS[name].variable)) if name in TRUNKS else None


def _vgg19(explicit: str | None, _: str) -> Path:
    from kdx2i.methods.families.label_maps.perceptual import VGG19_FILE, VGG19_VARIABLE

    return _published("VGG19", VGG19_FILE, explicit or os.environ.get(VGG19_VARIABLE))


def _published(name: str, file: str, given: str | None) -> Path:
    """Return the path of torchvision's weights: what is given, or in torch's cache."""
    from kdx2i.metrics.extractors.weights import torch_checkpoints

    target = torch_checkpoints() / file
    path = Path(given) if given else target
    if not path.is_file():
        url = f"https://download.pytorch.org/models/{file}"
        raise UserError(f"{name} is missing; fetch it with: curl -fL --create-dirs -o {target} {url}", whole=True)
    return path


def _gpus(plan: Plan, leaves: Iterable[Leaf[Any]]) -> Iterator[Need]:
    asked = plan.preset.resources.gpus
    if asked and any(leaf.kind.work == "training" for leaf in leaves):
        seen = len(visible())
        advice = f"{seen} visible; run it where there are {asked}, or set `resources: {{gpus: 0}}` in the preset"
        yield Need("GPU", f"{asked} GPU(s) a job", (), there=seen >= asked, advice="" if seen >= asked else advice)
