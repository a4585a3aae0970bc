"""A copy of the settings with tiny recipes of encoders, and splits of squares that have captions or tones."""

from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image
from repository import settings_copy
from spoken import NETWORK, tone
from tiny_text import COLOURS, PLACES, captions, picture

from kdx2i.data.conditions.condition_rows import ConditionRow, write_condition_rows
from kdx2i.data.conditions.formats import checksum, encode_captions, encode_description, encode_speech
from kdx2i.data.decode import pixels_sha256
from kdx2i.data.rows import ImageRow, write_rows
from kdx2i.plan import Plan
from kdx2i.provenance import write_provenance
from kdx2i.suite import make_plan

DATASETS = {"damsm": "open-animals-text", "speech": "open-plants-speech"}
TEST_CLASS = "white"
RECIPES: dict[str, dict[str, Any]] = {
    "damsm": {
        "encoder": {"trunk": "small", "small_width": 4, "input_size": 32, "dimension": 8, "embedding": 6, "words": 8},
        "train": {"iterations": 4, "batch": 4},
    },
    "speech": {
        "encoder": {"first": 6, "second": 8, "hidden": 4, "attention": 5, "image_network": NETWORK},
        "train": {"iterations": 4, "batch": 4},
    },
}


def recipe(kind: str, **changes: Any) -> dict[str, Any]:
    """Return the recipe `tiny-<kind>`."""
    shared = {"name": f"tiny-{kind}", "title": "tiny", "kind": kind, "dataset": DATASETS[kind], "resolution": 32}
    return {**shared, **RECIPES[kind], **changes}


def add_recipe(root: Path, kind: str, **changes: Any) -> str:
    """Write a recipe and return its name."""
    data = recipe(kind, **changes)
    path = root / "benchmarks/encoders" / f"tiny-{kind}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(data))
    return f"tiny-{kind}"


def add_preset(root: Path, encoders: dict[str, str], name: str = "tiny") -> Plan:
    """Write a preset with these encoders and the two architectures that read some; return its plan."""
    architectures: dict[str, Any] = {"ssa_gan": {}, "s2igan": {}}
    own = {"name": name, "extends": "open", "title": name, "encoders": encoders, "architectures": architectures}
    (root / "benchmarks/presets" / f"{name}.yaml").write_text(yaml.safe_dump(own))
    return make_plan(root, name)


def prepared(root: Path, kind: str, **changes: Any) -> Plan:
    """Return the plan `open` of a copy of the settings that has a tiny recipe and its split."""
    settings_copy(root)
    add_recipe(root, kind, **changes)
    plan = make_plan(root, "open")
    split = plan.split(DATASETS[kind])
    _write_split(split.folder, kind)
    write_provenance(plan, split)
    return plan


def _write_split(folder: Path, kind: str) -> None:
    """Write eight squares of four colours with captions, and for `speech` an utterance each; one colour is tested."""
    rows, conditions = [], []

    def keep(image: str, of: Any, file: str, data: bytes) -> None:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        conditions.append(ConditionRow(image, of, file, checksum(data, of, image, file)))

    if kind == "speech":
        keep("", "speech", "conditions/speech.json", encode_description({"synthesiser": "tones"}))
    for number, (colour, place) in enumerate((colour, place) for colour in COLOURS for place in PLACES):
        image, stem = Image.fromarray(picture(colour, place).permute(1, 2, 0).numpy()), f"{colour}/{place}"
        path = folder / "images" / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        role: Any = "test" if colour == TEST_CLASS else "train"
        rows.append(ImageRow(f"images/{stem}.png", colour, role, "", stem, "0" * 64, pixels_sha256(image)))
        written = encode_captions(captions(colour, place), stem)
        keep(rows[-1].image, "captions", f"conditions/captions/{stem}.txt", written)
        if kind == "speech":
            heard = (32767 * tone(number // 2, number % 2)).to(torch.int16).numpy()
            keep(rows[-1].image, "speech", f"conditions/speech/{stem}--0.wav", encode_speech(heard))
    write_condition_rows(folder / "conditions.csv", conditions)
    write_rows(folder / "split.csv", rows)
