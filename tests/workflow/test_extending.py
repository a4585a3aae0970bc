"""One method, metric, dataset and table more, with the edits that CONTRIBUTING.md lists, through the workflow."""

import csv
import hashlib
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from repository import ROOT, clone, snakemake

pytestmark = pytest.mark.workflow

SETTINGS = '''"""Settings of {name}. Torch-free."""

from pydantic import Field

from kdx2i.methods.settings import StrictSettings, TranslationSettings, TranslationTrain


class Networks(StrictSettings):
    """Nothing to choose."""


class Train(TranslationTrain):
    """Few iterations."""

    iterations: int = Field(default=3, ge=1)
    batch: int = Field(default=2, ge=1)
    learning_rate: float = 0.1


class Settings(TranslationSettings):
    """Everything that a preset may say about it."""

    networks: Networks = Networks()
    train: Train = Train()
'''
TINT = '''"""Tints the source with one colour a class."""

import torch
from torch import Tensor, nn

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.tint.settings import Settings
from kdx2i.methods.translation import TranslationMethod, averages_of


class Method(TranslationMethod[Settings]):
    """Learns the mean colour of each class."""

    def __init__(self, setup: MethodSetup[Settings]) -> None:
        super().__init__(setup)
        self.networks = {"colours": nn.Embedding(setup.num_classes, 3)}
        self.averages = averages_of(self.networks, ["colours"])
        self.optimizers = self.adams({"colours": self.settings.train.learning_rate})

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Move the colours of drawn classes towards those of their images."""
        y = self.images.draw_labels(self.settings.train.batch)
        x = self.images.draw(y, 0.0)
        loss = (self.networks["colours"](y) - x.mean((2, 3))).square().mean()
        self.optimizers["colours"].zero_grad()
        loss.backward()
        self.optimizers["colours"].step()
        return {"loss": loss.detach()}

    def _translate(self, x: Tensor, y: Tensor, references: Tensor | None) -> Tensor:
        return (x + self.averages["colours"](y)[:, :, None, None]) / 2 + 0.01 * torch.randn(len(x), 3, 1, 1)
'''
WORDS = '''"""Draws one grey for each caption: that of its length."""

import torch
from torch import Tensor, nn

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.words.settings import Settings
from kdx2i.tasks.conditions import CaptionCondition


class Method:
    """Learns which grey goes with how many letters."""

    def __init__(self, setup: MethodSetup[Settings]) -> None:
        self.setup, self.settings, self.device = setup, setup.settings, setup.device
        self.networks = {"grey": nn.Linear(1, 3)}
        self.averages = {"grey": nn.Linear(1, 3).requires_grad_(False)}
        self.averages["grey"].load_state_dict(self.networks["grey"].state_dict())
        self.optimizers = {"grey": torch.optim.SGD(self.networks["grey"].parameters(), 0.1)}

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Move greys towards the mean colours of the captions' images."""
        images, condition = self.setup.images.draw(self.settings.train.batch)
        loss = (self._colours(self.networks["grey"], condition) - images.mean((2, 3))).square().mean()
        self.optimizers["grey"].zero_grad()
        loss.backward()
        self.optimizers["grey"].step()
        return {"loss": loss.detach()}

    def generate(self, condition: CaptionCondition) -> Tensor:
        """Return [B, 3, R, R]."""
        size = self.setup.resolution
        colours = self._colours(self.averages["grey"], condition)
        noise = 0.1 * torch.randn(len(colours), 3, size, size)
        return (colours[:, :, None, None] + noise).clamp(-1, 1)

    def _colours(self, network: nn.Module, condition: CaptionCondition) -> Tensor:
        lengths = torch.tensor([[len(caption) / 100] for caption in condition.captions])
        return network(lengths)

    def ema_decay(self, step: int) -> float:
        """Return no average."""
        return 0.0

    def preview(self) -> tuple[Tensor, int]:
        """Return some images and what is made of their captions."""
        images, condition = self.setup.images.draw(2)
        return torch.cat([images, self.generate(condition)]).detach(), 2

    def scalars(self) -> dict[str, float]:
        """Return nothing."""
        return {}

    def restore_scalars(self, values: dict[str, float]) -> None:
        """Take nothing back."""
'''
DECLARATION = '''"""A method of a test."""

from kdx2i.methods.architecture import Architecture
from kdx2i.methods.{name}.settings import Settings

ARCHITECTURE = Architecture(
    name="{name}",
    settings=Settings,
    method="kdx2i.methods.{name}.method:Method",
    task="{task}",
    modes={modes},
)
'''
METRIC = '''"""The difference of mean grey levels."""

from kdx2i.metrics.entries import Entry
from kdx2i.metrics.trial import Trial


def brightness(trial: Trial) -> Entry:
    """Return the difference of the mean grey levels of the generated and the real images."""
    generated, real = (images.pixels().double().mean() for images in (trial.generated, trial.real.pooled_real))
    return {"value": abs(float(generated - real)), "n_generated": len(trial.generated)}
'''
ENTRY = 'Metric("brightness", "brightness", "Brightness", "lower", 1, "kdx2i.metrics.brightness:brightness"),'
DATASET = """name: squares
title: "Coloured squares"
source:
  kind: archive
  files:
    archive: {{path: squares.zip, sha256: {sha256}}}
licence: CC0-1.0
reader: image-folder
split: {{rule: per-class, train: 6}}
"""
TABLE = """name: table8
title: "Table 8: squares and captions"
caption: A table of a test.
parts:
  - {name: squares, title: Squares, mode: latent, datasets: [squares], metrics: [FID, brightness]}
  - {name: captions, title: Captions, mode: text, task: text, datasets: [cub], metrics: [FID, brightness]}
rows:
  - {part: squares, label: Tint, architecture: tint, transfer: scratch, resolution: 256}
  - {part: captions, label: Words, architecture: words, transfer: scratch, resolution: 256}
  - {part: captions, label: Ours, architecture: words, transfer: kd, resolution: 256}
columns:
  datasets: [squares, cub]
  metrics: [FID, brightness]
"""
NAMES = {
    "method": "tint|words",
    "dataset": "squares",
    "metric": "brightness",
    "table": "table8",
    "preset": "open-smoke",
}


def archive(path: Path) -> str:
    """Write an archive with two classes of twelve noisy squares each, and return its SHA-256."""
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as bundle:
        for label, level in (("bright", 200), ("dark", 60)):
            for number in range(12):
                pixels = generator.integers(level - 40, level + 40, (32, 32, 3), dtype=np.uint8)
                data = io.BytesIO()
                Image.fromarray(pixels).save(data, "png")
                bundle.writestr(f"{label}/{number}.png", data.getvalue())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def add_everything(root: Path) -> set[str]:
    """Add two methods, a metric, a dataset and a table to a copy; return the paths of the files that were touched."""
    edits: dict[str, str] = {}
    for name, code, task, modes in (("tint", TINT, "image-to-image", ("latent",)), ("words", WORDS, "text", ("text",))):
        folder = f"kdx2i/methods/{name}"
        edits[f"{folder}/__init__.py"] = DECLARATION.format(name=name, task=task, modes=modes)
        edits[f"{folder}/settings.py"] = SETTINGS.format(name=name)
        edits[f"{folder}/method.py"] = code
    edits["kdx2i/metrics/brightness.py"] = METRIC
    before, after = (root / "kdx2i/metric_catalogue.py").read_text().split("\n    )\n}  # fmt: skip")
    edits["kdx2i/metric_catalogue.py"] = f"{before}\n        {ENTRY}\n    )\n}}  # fmt: skip{after}"
    edits["benchmarks/datasets/squares.yaml"] = DATASET.format(sha256=archive(root / "squares.zip"))
    preset = (root / "benchmarks/presets/open-smoke.yaml").read_text()
    preset = preset.replace("datasets:\n", "datasets:\n  squares: squares\n  cub: open-birds-text\n")
    edits["benchmarks/presets/open-smoke.yaml"] = preset.replace(
        "architectures:\n", "architectures:\n  tint: {}\n  words: {}\n"
    )
    edits["benchmarks/tables/table8.yaml"] = TABLE
    header = (ROOT / "benchmarks/published/table3.csv").read_text().splitlines()[0]
    edits["benchmarks/published/table8.csv"] = f"{header}\n"
    for path, text in edits.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(text)
    return set(edits)


def listed_edits() -> set[str]:
    """Return the files that CONTRIBUTING.md lists for a method, a dataset, a metric and a table, as patterns."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    sections = re.findall(r"^### A (?:method|dataset|metric|table)\n(.*?)(?=^##)", text, flags=re.MULTILINE | re.DOTALL)
    assert len(sections) == 4
    paths = {path for section in sections for path in re.findall(r"^- `([^`]+)`", section, flags=re.MULTILINE)}
    patterns = set()
    for path in paths:
        pattern = re.escape(path)
        for what, names in NAMES.items():
            pattern = pattern.replace(f"<{what}>", f"(?:{names})")
        patterns.add(pattern)
    return patterns


def test_the_listed_edits_are_enough(tmp_path: Path) -> None:
    root = clone(tmp_path / "repository")
    touched, listed = add_everything(root), listed_edits()
    assert all(any(re.fullmatch(pattern, path) for pattern in listed) for path in touched), "an edit is not listed"
    assert all(any(re.fullmatch(pattern, path) for path in touched) for pattern in listed), (
        "a listed edit is not needed"
    )

    done = snakemake(root, "table8", "--cores", "2", "--config", "preset=open-smoke")
    screen = done.stdout + done.stderr
    assert done.returncode == 0, screen
    assert "Brightness↓" in screen
    with (root / "results/open-smoke/tables/table8.csv").open(newline="") as table:
        cells = [row for row in csv.DictReader(table) if row["metric"] == "brightness"]
    values = {(row["part"], row["label"]): row for row in cells if row["dataset"] in ("squares", "cub")}
    assert float(values["squares", "Tint"]["value"]) > 0
    assert float(values["captions", "Words"]["value"]) > 0
    ours = values["captions", "Ours"]
    assert ours["value"] == "" and "the architecture words has none" in ours["absent"]
    controls = {row["label"] for row in cells if row["part"] == "captions" and row["value"]}
    assert {"Real against real", "Noise images"} <= controls and "Input copied" not in controls
